# SPDX-License-Identifier: Apache-2.0
"""Copy what is appended to a file to another place while other work goes on."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_INTERVAL = 0.1  # seconds


class Follow:
    """A context manager: from its beginning to its end, ``write`` gets what is appended to ``path``, on a thread.

    Of a file that takes its place, or that is begun anew, it gets all.
    """

    def __init__(self, path: Path, write: Callable[[bytes], object]) -> None:
        self._path = path
        self._write = write
        self._file: BinaryIO | None = None
        self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"follow-{path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._file is not None:
            self._file.close()

    def _work(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        self._read()
        if self._open():
            self._read()

    def _open(self) -> bool:
        """Open the file, if it is another one than that which is open, whose number is not given away meanwhile."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return False
        if self._file is not None and os.path.samestat(os.fstat(file.fileno()), os.fstat(self._file.fileno())):
            file.close()
            return False
        if self._file is not None:
            self._file.close()
        self._file = file
        return True

    def _read(self) -> None:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        while data := self._file.read(1 << 16):
            self._write(data)
