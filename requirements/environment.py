# SPDX-License-Identifier: Apache-2.0
"""Make ``var/env/<name>``: a virtualenv with what a lock pins and, editable, the distributions of this repository.

It runs on the system's bare Python, before anything is installed, and an old Python must still be able to read it.
A second call does nothing while the locks, the distributions' metadata, Python and the checkout's place are the same:
a stamp inside the environment, written last, says so; what was interrupted has none and is made anew.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"demo": "runtime.lock", "tests": "tests.lock"}
DISTRIBUTIONS = ("core", "recipes", "promises", "node", "master", "testfarm")
OLDEST = (3, 11)
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
INSTALL = ("install", "--root-user-action", "ignore", "--no-warn-script-location")


class Problem(Exception):
    """Something that the user has to mend; its text is the one line that says what and how."""


def missing(version: tuple[int, ...], has_venv: bool, has_git: bool) -> str:
    """Return what this machine lacks, as one line that names the package to install; empty when it lacks nothing."""
    wanted = ".".join(map(str, OLDEST))
    if tuple(version[:2]) < OLDEST:
        found = ".".join(map(str, version[:3]))
        packages = f"python{wanted} python{wanted}-venv"
        return f"Python {wanted} is needed, this is {found}. apt-get install {packages}, then add PYTHON=python{wanted}"
    if not has_venv:
        return "this Python has no ensurepip. apt-get install python3-venv"
    if not has_git:
        return "git is needed. apt-get install git"
    return ""


def digest(*parts: bytes) -> str:
    """Return one hash over all parts, with their borders."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def third_party_key(root: Path, name: str) -> str:
    """Return what the third-party half of an environment depends on."""
    python = f"{sys.version} {os.path.realpath(sys.executable)}"
    return digest((root / "requirements" / LOCKS[name]).read_bytes(), python.encode(), str(root).encode())


def own_key(root: Path) -> str:
    """Return what the editable half depends on: metadata only, code is read from where it stands."""
    return digest(*((root / folder / "pyproject.toml").read_bytes() for folder in DISTRIBUTIONS))


class Environment:
    """One virtualenv of this checkout."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.folder = root / "var" / "env" / name
        self.log = self.folder.with_suffix(".log")
        self.python = self.folder / "bin" / "python"

    def ensure(self) -> None:
        """Make the environment what the checkout asks for; a second call at the same time waits."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / ".set-up.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            key = third_party_key(self.root, self.name)
            if self._stamp("third-party") != key:
                self._install_third_party(key)
            key = own_key(self.root)
            if self._stamp("own") != key:
                self._install_own(key)

    def _stamp(self, half: str) -> str:
        try:
            return (self.folder / f"{half}.stamp").read_text()
        except FileNotFoundError:
            return ""

    def _write_stamp(self, half: str, key: str) -> None:
        temporary = self.folder / f"{half}.new"
        temporary.write_text(key)
        temporary.replace(self.folder / f"{half}.stamp")

    def _install_third_party(self, key: str) -> None:
        started = time.monotonic()
        lock = self.root / "requirements" / LOCKS[self.name]
        total = sum("==" in line for line in lock.read_text().splitlines())
        say(f"{self.name}: new environment in {self.folder.relative_to(self.root)}, {total} packages pinned by hash")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self._run(getattr(sys, "_base_executable", sys.executable), ["-m", "venv", str(self.folder)])
        pip = [*PIP, *INSTALL, "--require-hashes", "--requirement", str(lock)]
        self._run(str(self.python), pip, total)
        self._write_stamp("third-party", key)
        say(f"{self.name}: packages installed in {time.monotonic() - started:.0f} s")

    def _install_own(self, key: str) -> None:
        started = time.monotonic()
        editable = [word for folder in DISTRIBUTIONS for word in ("--editable", str(self.root / folder))]
        # no index and no isolation: setuptools comes from the lock, and nothing else may come at all
        pip = [*PIP, *INSTALL, "--no-index", "--no-deps", "--no-build-isolation", *editable]
        self._run(str(self.python), pip)
        self._write_stamp("own", key)
        say(f"{self.name}: {len(DISTRIBUTIONS)} distributions of this checkout in {time.monotonic() - started:.0f} s")

    def _run(self, python: str, arguments: list[str], total: int = 0) -> None:
        """Run Python, its output into the log; count what pip collects as progress."""
        ignored = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET")
        environment = {key: value for key, value in os.environ.items() if key not in ignored}
        collected = 0
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [python, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env=environment,
            )
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                collected += line.startswith("Collecting ")
                if total and line.startswith("Collecting ") and collected % 20 == 0:
                    say(f"{self.name}: {collected} of {total} packages fetched")
        if process.wait() != 0:
            raise Problem(f"{self.name}: set-up failed, see {self.log}\n{tail(self.log)}")


def tail(log: Path, lines: int = 8) -> str:
    """Return a log's last lines; what pip merely warns about is left out."""
    kept = [line for line in log.read_text().splitlines() if line.strip() and not line.startswith("WARNING:")]
    return "\n".join(f"    {line}" for line in kept[-lines:])


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a virtualenv of this checkout, or find it complete.")
    parser.add_argument("name", choices=sorted(LOCKS))
    options = parser.parse_args(arguments)
    lack = missing(
        tuple(sys.version_info), importlib.util.find_spec("ensurepip") is not None, shutil.which("git") is not None
    )
    if lack:
        say(f"error: {lack}")
        return 1
    try:
        Environment(ROOT, options.name).ensure()
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("stopped; the next run starts the set-up again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
