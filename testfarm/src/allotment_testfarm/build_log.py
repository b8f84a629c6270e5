# SPDX-License-Identifier: Apache-2.0
"""What people want to know of a build while it goes on, read from its log as that grows."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

INTERVAL: Final = 15.0  # seconds between two lines on what takes long
_LOOK: Final = 0.5  # seconds
_FETCHED: Final = re.compile(r"fetch: (.+): from the (.+ in [\d.]+ s)")
_FETCHING: Final = re.compile(r"fetch: (.+: [\d.]+(?: of [\d.]+)? MB)")
_BUILDING: Final = re.compile(r"(\S+): building \1-(\S+)-[0-9a-f]{32}")
_BUILT: Final = re.compile(r"(\S+): built \1-(\S+)-[0-9a-f]{32} (in [\d.]+ s)")


class BuildLog:
    """One growing log; the file may come into being later."""

    def __init__(self, path: Path, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._say = say
        self._clock = clock
        self._read = 0  # bytes
        self._building: dict[str, tuple[str, float]] = {}  # by part: what to call it, and since when
        self._next = clock() + INTERVAL

    def look(self) -> None:
        """Say which sources have come and which parts were built since the last call, and at times what takes long."""
        for line in self._new_lines():
            self._take(line)
        now = self._clock()
        if now >= self._next:
            self._next = now + INTERVAL
            for name, began in self._building.values():
                self._say(f"building {name} for {now - began:.0f} s")

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Look again and again, on a thread, while the block runs."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(_LOOK):
                self.look()
            self.look()

        thread = threading.Thread(target=work, name=f"follow-{self._path.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _new_lines(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()

    def _take(self, line: str) -> None:
        if match := _FETCHED.fullmatch(line):
            self._say(f"fetched {match[1]} from the {match[2]}")
        elif match := _FETCHING.fullmatch(line):
            self._say(f"fetching {match[1]}")
        elif match := _BUILDING.fullmatch(line):
            self._building[match[1]] = (f"{match[1]} {match[2]}", self._clock())
            self._next = self._clock() + INTERVAL
        elif match := _BUILT.match(line):
            self._building.pop(match[1], None)
            self._say(f"built {match[1]} {match[2]} {match[3]}")
