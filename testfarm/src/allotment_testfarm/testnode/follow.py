# SPDX-License-Identifier: Apache-2.0
"""Copy what is appended to a file to the job's log while other work goes on."""

import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_INTERVAL = 0.1  # seconds


class Follow:
    """A context manager: from its beginning to its end, new lines of ``path`` appear on standard output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
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
                    sys.stdout.buffer.write(data)
                    self._place += len(data)
                sys.stdout.buffer.flush()
        except FileNotFoundError:
            pass
