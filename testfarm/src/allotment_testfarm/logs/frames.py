# SPDX-License-Identifier: Apache-2.0
"""Stretches of a log as zstd frames; each is unpacked by itself, and all in a row are one valid zstd file."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STRETCH = 256 << 10  # bytes of plain text in one frame: what has to be unpacked to read any byte of it
_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}

FrameError = zstd.ZstdError  # the frame is damaged


def pack(text: bytes) -> bytes:
    """Return a stretch as one frame."""
    return zstd.compress(text, options=_OPTIONS)


def unpack(frame: bytes) -> bytes:
    """Return the stretch that a frame holds; a damaged one is a FrameError."""
    return zstd.decompress(frame)


def holds(frame: bytes, text: bytes) -> bool:
    """Whether ``frame`` is whole and holds ``text``."""
    try:
        return unpack(frame) == text
    except FrameError:
        return False
