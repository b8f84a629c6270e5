# SPDX-License-Identifier: Apache-2.0
"""Read what xz packed without giving it more memory than its own highest level asks for.

An archive says itself how much memory unpacking takes, up to 4 GiB; ``lzma.open`` believes it.
"""

import lzma
from typing import IO, Final

MEMORY_LIMIT: Final = 160 << 20  # bytes; xz -9 asks for 65 MiB
_CHUNK: Final = 1 << 16  # bytes


class XzStream:
    """What one or more xz streams hold, read forwards."""

    def __init__(self, stream: IO[bytes], mode: str = "rb") -> None:
        self._stream = stream
        self._place = 0
        self._decoder = _decoder()

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        pieces = []
        left = size
        while left and (piece := self._read_some(left)):
            pieces.append(piece)
            left -= len(piece)
        self._place += size - left
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go forward to ``offset``; there is no way back."""
        if whence != 0 or offset < self._place:
            raise lzma.LZMAError(f"byte {offset} is before byte {self._place}")
        while self._place < offset and self.read(min(_CHUNK, offset - self._place)):
            pass
        return self._place

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._place

    def _read_some(self, limit: int) -> bytes:
        """Return at least one byte, or none at the end."""
        while True:
            packed = b""
            if self._decoder.eof:
                packed = self._next_stream()
                if not packed:
                    return b""
                self._decoder = _decoder()
            elif self._decoder.needs_input:
                packed = self._stream.read(_CHUNK)
                if not packed:
                    raise EOFError("it ends before its end")
            if piece := self._decoder.decompress(packed, limit):
                return piece

    def _next_stream(self) -> bytes:
        """Return the beginning of what comes after a stream and the zeros behind it."""
        packed = self._decoder.unused_data.lstrip(b"\0")
        while not packed:
            packed = self._stream.read(_CHUNK)
            if not packed:
                return b""
            packed = packed.lstrip(b"\0")
        return packed


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
