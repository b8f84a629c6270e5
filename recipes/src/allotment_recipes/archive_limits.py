# SPDX-License-Identifier: Apache-2.0
"""What archives may hold, and streams that read no more of them than memory and time have room for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Final

from allotment.errors import AllotmentError

HEADER_LIMIT: Final = 1 << 20  # bytes of the headers of one member: tarfile has them in memory
_HEADERS_LIMIT: Final = 1 << 29  # bytes of all headers together: reading them takes time
_HOPS: Final = 40  # links that lead to links: beyond it the system follows none
_DIRECTORY_LIMIT: Final = 1 << 26  # bytes of a zip's list of members, which zipfile has in memory


class UnpackError(AllotmentError):
    """An archive is damaged, or holds what no archive should hold."""


@dataclass(frozen=True)
class Rules:
    """What an archive may hold."""

    size: int = 4 << 30  # bytes, of all files together
    count: int = 200_000  # files, folders and links
    links: bool = True  # symbolic and hard links that stay inside
    times: bool = True  # keep each file's time: make compares them, and sources hold generated files
    odd_names: bool = False  # backslashes and control characters in names, which git keeps


SOURCE: Final = Rules()  # an archive of sources, accepted by its hash


def stays_inside(link: tuple[str, ...], links: Mapping[tuple[str, ...], str]) -> bool:
    """Whether following a link never leaves the folder, not even to come back by a name that the folder has today.

    No disk is asked: all links are known by their paths, and the folders of a link are none.
    """
    place = list(link)
    todo: list[str] = []
    hops = 0
    while True:
        if (goal := links.get(tuple(place))) is not None:
            hops += 1
            if hops > _HOPS or (hops > 1 and not todo):  # nobody gets further, or that link is looked at by itself
                return True
            place.pop()
            todo.extend(reversed(goal.split("/")))
        if not todo:
            return True
        step = todo.pop()
        if step == ".." and not place:
            return False
        if step == "..":
            place.pop()
        elif step not in ("", "."):
            place.append(step)


class BoundedTar:
    """A stream of a tar of which headers are read within limits: one of a gigabyte is no header."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream = stream
        self.where = where
        self._member = 0  # bytes of headers of the member that is looked for
        self._all = 0  # and of all before it
        self.is_header = True  # whether headers are read, and not what a file holds

    def begin_member(self) -> None:
        """Count the headers of another member."""
        self._all += self._member
        self._member = 0

    def read(self, size: int = -1) -> bytes:
        if self.is_header:
            self._member += size
            if size < 0 or self._member > HEADER_LIMIT or self._all + self._member > _HEADERS_LIMIT:
                raise UnpackError(f"{self.where} has a header of {size} bytes", "Nothing of it was unpacked")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


class BoundedZip:
    """A zip whose list of members is read only when it is of a size that memory has room for."""

    def __init__(self, stream: IO[bytes], where: str, count: int) -> None:
        self._stream = stream
        self._where = where
        self._count = count
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(_DIRECTORY_LIMIT + 1 if size < 0 else min(size, _DIRECTORY_LIMIT + 1))
        is_list = len(data) > HEADER_LIMIT  # of members, or damaged: what files hold is read in smaller pieces
        if is_list and (len(data) > _DIRECTORY_LIMIT or data.count(b"PK\1\2") > self._count):
            raise UnpackError(f"{self._where} lists more than {self._count} files", "Make it smaller")
        return data
