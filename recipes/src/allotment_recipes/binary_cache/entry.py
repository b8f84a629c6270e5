# SPDX-License-Identifier: Apache-2.0
"""What is said and signed of a packed part, and whether it is what a build asks for."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.binary_cache import PackedPart, SignedPackedPart
from allotment.messages.manifest import Blob
from allotment_recipes import signing
from allotment_recipes.store import HASH_DIGITS, platform_name

LIMIT: Final = 1 << 16  # bytes of one signed entry
ARCHIVE_LIMIT: Final = 4 << 30  # bytes
SIZE_LIMIT: Final = 32 << 30  # bytes of a part's files
COUNT_LIMIT: Final = 1_000_000  # files, folders and links


class EntryError(AllotmentError):
    """What a cache says of a part is not to be used; ``what`` is the reason."""


@dataclass(frozen=True)
class Wanted:
    """A part that a build needs."""

    location: Path  # where it is to be
    digest: str  # of all its inputs, 64 digits

    @property
    def part(self) -> str:
        return self.location.name

    @property
    def root(self) -> Path:
        return self.location.parent


def read(data: bytes, where: str) -> SignedPackedPart:
    """Parse what a cache has answered; ``where`` opens the text of an error."""
    if len(data) > LIMIT:
        raise EntryError(f"it has more than {LIMIT} bytes of metadata")
    signed = loads(SignedPackedPart, data, where)
    packed = signed.packed
    sizes = (
        (packed.archive.size, ARCHIVE_LIMIT, "bytes"),
        (packed.size, SIZE_LIMIT, "bytes in files"),
        (packed.count, COUNT_LIMIT, "files"),
    )
    for size, most, what in sizes:
        if not 0 <= size <= most:
            raise EntryError(f"it says {size} {what}, and up to {most} are taken")
    if not packed.part.endswith(f"-{packed.digest[:HASH_DIGITS]}"):
        raise EntryError(f"its folder {packed.part!r} is not that of the hash {packed.digest}")
    return signed


def archive_of(data: bytes, where: str) -> Blob | None:
    """Return of what archive a kept entry is; None when the entry is damaged, and so as good as lost."""
    try:
        return read(data, where).packed.archive
    except AllotmentError:
        return None


def sign(packed: PackedPart, key: signing.SigningKey) -> SignedPackedPart:
    """Return the entry, signed over all that it says."""
    return SignedPackedPart(packed, (key.signature(dumps(packed)),))


def check_signature(signed: SignedPackedPart, trusted: Iterable[str], who: str) -> None:
    """Raise unless a trusted key has signed."""
    signing.check(signed.packed.part, dumps(signed.packed), signed.signatures, trusted, who)


def check(signed: SignedPackedPart, wanted: Wanted, trusted: Iterable[str]) -> None:
    """Raise unless a trusted key says that this is the wanted part, for this platform and this store."""
    check_signature(signed, trusted, "this build")
    packed = signed.packed
    if packed.part != wanted.part:
        raise EntryError(f"it is {packed.part}")
    if packed.digest != wanted.digest:
        raise EntryError(f"it was built from other inputs: its hash is {packed.digest}, not {wanted.digest}")
    if packed.platform != platform_name():
        raise EntryError(f"it was built for {packed.platform}, and this is {platform_name()}")
    if packed.fixed and packed.root != str(wanted.root):
        more = f" (and {len(packed.fixed) - 1} more)" if len(packed.fixed) > 1 else ""
        first = packed.fixed[0]
        raise EntryError(f"it works in {packed.root} only, for {first.file} {first.reason}{more}")
