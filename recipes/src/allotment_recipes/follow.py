# SPDX-License-Identifier: Apache-2.0
"""Copy what is appended to a file to another place while other work goes on."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_INTERVAL = 0.1  # seconds


class Follow:
    """A context manager: from its beginning to its end, ``write`` gets what is appended to ``path``, on a thread."""

    def __init__(self, path: Path, write: Callable[[bytes], object]) -> None:
        self._path = path
        self._write = write
        self._place = path.stat().st_size if path.exists() else 0
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

    def _work(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                while data := file.read(1 << 16):
                    self._write(data)
                    self._place += len(data)
        except FileNotFoundError:
            pass
