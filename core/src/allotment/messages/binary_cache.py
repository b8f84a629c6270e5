# SPDX-License-Identifier: Apache-2.0
"""What a binary cache says of a packed part, signed by whoever built it."""

from dataclasses import dataclass

from allotment.codec import message
from allotment.messages.manifest import Blob, Signature


@dataclass(frozen=True)
class Fixed:
    """A file by which a part works in one store's folder only."""

    file: str  # in the part
    reason: str


@message("packed-part", format=1)
@dataclass(frozen=True)
class PackedPart:
    """A part of a store as one archive; whoever trusts the signer may unpack it instead of building the part."""

    part: str  # its folder's name in the store
    name: str
    version: str
    digest: str  # of all inputs of the part, 64 digits; the folder's name has the first of them
    platform: str  # such as linux-x86_64-glibc2.36-py3.11
    root: str  # of the store in which it was built
    archive: Blob
    size: int  # bytes of all its files
    count: int  # of files, folders and links
    references: tuple[str, ...] = ()  # folders of the parts that it refers to
    seconds: float = 0.0  # that it took to build
    fixed: tuple[Fixed, ...] = ()  # why it works below ``root`` only; none: below any root


@message("signed-packed-part", format=1)
@dataclass(frozen=True)
class SignedPackedPart:
    """A packed part with the signatures of those who built it."""

    packed: PackedPart
    signatures: tuple[Signature, ...]
