# SPDX-License-Identifier: Apache-2.0
"""A small file system that any user may make, to be filled; tests use it too."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A file system in ``place``, which is mounted for a process in namespaces only."""

    place: Path
    holder: int  # pid of that process

    @property
    def inside(self) -> tuple[str, ...]:
        """The words before a command that is to see it."""
        return ("nsenter", "--target", str(self.holder), "--user", "--mount", "--preserve-credentials")

    @property
    def outside(self) -> Path:
        """Where everybody else sees it."""
        return Path(f"/proc/{self.holder}/root{self.place}")

    @property
    def free(self) -> int:
        """Bytes that are left."""
        space = os.statvfs(self.outside)
        return space.f_bavail * space.f_frsize

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes of it, whatever others write meanwhile."""
        with (self.outside / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while (size := self.free - left) > 0:
                file.write(bytes(min(size, 1 << 20)))

    def relieve(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.outside / "ballast").unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[SmallDisk]:
    """Make a folder and mount one there, of a size as mount writes it, for as long as the block runs.

    Raises `RuntimeError` where no user may do that.
    """
    place.mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs {place} && echo mounted && exec cat"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "mounted\n":
            raise RuntimeError("no disk can be mounted in a user namespace here")
        try:
            yield SmallDisk(place, holder.pid)
        finally:
            holder.communicate()  # it ends with its standard input
