# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server for one benchmark: Debian's or one on PATH, as it comes, each commit forced to the disk."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Server:
    """A running server; ``folder`` holds its socket, and the user ``bench`` needs no password."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder = folder
        self._binaries = binaries

    def create(self, name: str) -> str:
        """Make an empty database and return its URL, without a driver's name."""
        program = str(self._binaries / "psql")
        words = ["-q", "-h", str(self._folder), "-U", "bench", "postgres", "-c", f"create database {name}"]
        subprocess.run([program, *words], check=True)
        return f"postgresql://bench@/{name}?host={self._folder}"


@contextmanager
def server() -> Iterator[Server | None]:
    """Run a server while the block runs; None where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))  # short: it holds a unix socket
    user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    control = [*user, str(binaries / "pg_ctl"), "-D", str(folder / "data")]
    options = f"-k {folder} -c listen_addresses="
    steps = (
        [*user, str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "bench", "-E", "UTF8"],
        [*control, "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start"],
    )
    try:
        for step in steps:
            subprocess.run(step, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield Server(folder, binaries)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd=folder, check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None
