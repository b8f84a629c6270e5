# SPDX-License-Identifier: Apache-2.0
"""Patches of a source: files of the profile's tree, or pinned downloads."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.options import OptionProblem
from allotment_recipes.sources import Source

_HASHES = {32: hashlib.md5, 64: hashlib.sha256}


@dataclass(frozen=True)
class Patch:
    """One patch; ``source`` is set when it has to be fetched, ``file`` when it is here."""

    name: str
    sha256: str
    file: Path | None = None
    source: Source | None = None

    def path(self, blobs: Path) -> Path:
        """Return the file, once it is fetched."""
        return self.file or BlobStore(blobs).path(self.sha256)


def read_patches(lines: Iterable[str], place: Callable[[str], Path]) -> tuple[Patch, ...]:
    """Return the patches of lines like ``path#sha256``; a file with another checksum is an error.

    ``place`` makes a relative path absolute. An md5 will do for a file of the profile's tree, as that is pinned itself.
    """
    return tuple(_patch(line, place) for line in lines)


def _patch(line: str, place: Callable[[str], Path]) -> Patch:
    address, _, checksum = line.partition("#")
    checksum = checksum.removeprefix("sha256=").removeprefix("md5=").lower()
    name = address.rstrip("/").rpartition("/")[2]
    is_remote = re.match(r"https?://", address) is not None
    if not re.fullmatch(r"[0-9a-f]{64}" if is_remote else r"[0-9a-f]{64}|[0-9a-f]{32}", checksum):
        raise OptionProblem("patches", f"{line!r} has no sha256", "Write <path or URL>#<64 hexadecimal digits>")
    if is_remote:
        return Patch(name, checksum, source=Source(checksum, name, urls=(address,)))
    file = place(address)
    try:
        data = file.read_bytes()
    except OSError as error:
        beside = f", or write ${{:_profile_base_location_}}/{address} for a file beside the profile"
        fix = f"Correct the path{beside if address != str(file) else ''}"
        raise OptionProblem("patches", f"{file} can't be read: {error.strerror}", fix) from error
    found = _HASHES[len(checksum)](data).hexdigest()
    if found != checksum:
        raise OptionProblem("patches", f"the checksum of {file} is {found}, not {checksum}", "Correct one of them")
    return Patch(name, hashlib.sha256(data).hexdigest(), file=file)
