# SPDX-License-Identifier: Apache-2.0
"""Instances that back each other up on this machine, with OpenSSH and rsync."""

import importlib
import io
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.recipes import backup_export, backup_import, backup_pull, backup_push, backup_ssh_keys

SSHD = Path("/usr/sbin/sshd")
# sshd runs commands in the user's shell, so the recipes refuse who has none, such as nobody: nothing is to be tested.
collect_ignore_glob = ["test_*.py"] if Path(pwd.getpwuid(os.geteuid()).pw_shell).name in {"nologin", "false"} else []
Done = subprocess.CompletedProcess[str]


class Backups:
    """An instance in ``data``, its backup in ``backup`` and one in ``standby``; nothing but files connects them."""

    def __init__(self, folder: Path, tools: dict[str, str], port: int) -> None:
        self.folder = folder
        self.tools = tools
        self.is_near = False  # clients start the forced command themselves
        self.is_apart = False  # nevertheless each program is a process of its own
        self.port = port
        self.data = folder / "data"
        self.backup = folder / "backup"
        self.standby = folder / "standby"
        for place in (self.data, self.backup, self.standby):
            place.mkdir()
        self.content = self.data / "content"
        self.content.mkdir()
        (self.content / "one").write_text("1\n")
        keys = self.make(backup_ssh_keys.Recipe, self.backup, "key", {"keygen-binary": tools["ssh-keygen"]})
        self.public_key = keys.raw["public-key"]

    def make(self, recipe: Any, place: Path, name: str, options: dict[str, str]) -> Any:
        """Process a section."""
        made = recipe({"buildout": {"directory": str(place)}}, name, options)
        made.paths = made.install()
        return made

    def server(self, **options: str) -> dict[str, str]:
        """Return the options of a section that runs an SSH server."""
        given = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "authorized-keys": self.public_key,
            "sshd-binary": str(SSHD),
            "keygen-binary": self.tools["ssh-keygen"],
            "rsync-binary": self.tools["rsync"],
        }
        return {**given, **{name.replace("_", "-"): value for name, value in options.items()}}

    def client(self, **options: str) -> dict[str, str]:
        """Return the options of a section that goes to the server."""
        given = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "key-file": "etc/ssh/key",
            "ssh-binary": str(self.folder / "near-ssh") if self.is_near else self.tools["ssh"],
            "rsync-binary": self.tools["rsync"],
        }
        return {**given, **{name.replace("_", "-"): value for name, value in options.items()}}

    def come_near(self, command: Path) -> None:
        """From now on clients start ``command`` themselves, as sshd does for who has the key: logins take long."""
        self.is_near = True
        script = self.folder / "near-ssh"
        start = f'while [ "$1" != peer ]; do shift; done; shift; export SSH_ORIGINAL_COMMAND="$*"; exec {command}'
        script.write_text(f"#!/bin/sh\n{start}\n")
        script.chmod(0o755)

    def make_export(self, **options: str) -> Any:
        copy = f"cp -a {self.content}/. ."
        self.exporting = self.make(
            backup_export.Recipe, self.data, "export", self.server(**{"commands": copy, **options})
        )
        return self.exporting

    def make_pull(self, **options: str) -> Any:
        told = {name: self.exporting.raw[name] for name in ("user", "host-key")}
        self.pulling = self.make(
            backup_pull.Recipe, self.backup, "pull", self.client(**{"retention": "14", **told, **options})
        )
        return self.pulling

    def make_import(self, **options: str) -> Any:
        restore = f"rm -rf {self.standby}/restored\ncp -a . {self.standby}/restored"
        self.importing = self.make(
            backup_import.Recipe, self.standby, "import", self.server(**{"commands": restore, **options})
        )
        return self.importing

    def make_push(self, **options: str) -> Any:
        told = {name: self.importing.raw[name] for name in ("user", "host-key")}
        given = self.client(**{"generations": "srv/pull", **told, **options})
        return self.make(backup_push.Recipe, self.backup, "push", given)

    def push(self) -> Done:
        return self._run(self.backup / "bin/push")

    def export(self) -> Done:
        return self._run(self.data / "bin/export")

    def pull(self) -> Done:
        return self._run(self.backup / "bin/pull")

    def _run(self, script: Path) -> Done:
        return run_here(script) if self.is_near and not self.is_apart else run(script)

    def ask(self, *words: str, section: str = "pull") -> Done:
        return run(self.backup / f"etc/{section}/ssh", "peer", *words)

    def exports(self) -> list[Path]:
        return sorted((self.data / "srv/export").glob("2*"))

    def pulled(self) -> list[Path]:
        return sorted((self.backup / "srv/pull").glob("2*"))

    @staticmethod
    def status(folder: Path) -> dict[str, Any]:
        return dict(json.loads((folder / "status.json").read_text()))

    @contextmanager
    def serving(self, service: Path | None = None) -> Iterator[None]:
        """Run the SSH server, unless clients do without."""
        if self.is_near:
            yield
            return
        log = (self.folder / "sshd.log").open("ab")
        process = subprocess.Popen([service or self.data / "etc/service/export"], stderr=log, stdout=log)
        try:
            await_true(lambda: answers(self.port))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            log.close()


def run(*words: Any) -> Done:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)


def run_here(script: Path) -> Done:
    """Do what a script does, without the start of Python; one that has been changed by hand is run as it is."""
    *before, last = script.read_text().splitlines()
    words = shlex.split(last)
    if before != ["#!/bin/sh -e"] or words[2:4] != ["-I", "-m"]:
        return run(script)
    output, errors = io.StringIO(), io.StringIO()
    mask, limit = os.umask(0o022), sys.getrecursionlimit()
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            code = importlib.import_module(words[4]).main(words[5:-1])
    finally:
        os.umask(mask)
        sys.setrecursionlimit(limit)
    return Done([str(script)], code, output.getvalue(), errors.getvalue())


def answers(port: int) -> bool:
    try:
        # Patient: the server holds on to connections that nobody logs in by, and refuses others when there are many.
        with socket.create_connection(("127.0.0.1", port), 60.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def await_true(found: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """The programs that are needed, by name."""
    found = {name: shutil.which(name) for name in ("ssh", "ssh-keygen", "rsync")}
    if not SSHD.exists():
        pytest.skip("needs openssh-server")
    for name, path in found.items():
        if path is None:
            pytest.skip(f"needs {name}")
    if os.geteuid() == 0:  # sshd asks for it when it is root, and the system's service would make it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return {name: path for name, path in found.items() if path is not None}


@pytest.fixture
def backups(tmp_path: Path, tools: dict[str, str], make_port: Callable[[str], int]) -> Backups:
    return Backups(tmp_path, tools, make_port("127.0.0.1"))


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until what is given returns something true."""
    return await_true
