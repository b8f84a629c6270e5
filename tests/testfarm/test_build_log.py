# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment_testfarm.build_log import INTERVAL, BuildLog

HASH = "0123456789abcdef" * 2


class Told:
    """A growing log, a clock, and what was said of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.said: list[str] = []
        self.log = BuildLog(path, self.said.append, lambda: self.now)

    def write(self, text: str) -> list[str]:
        """Append to the log and return what is said of it."""
        with self.path.open("a") as file:
            file.write(text)
        return self.look()

    def look(self, later: float = 0.0) -> list[str]:
        self.now += later
        self.said.clear()
        self.log.look()
        return list(self.said)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "build.log")


def test_a_log_that_is_not_there_yet_says_nothing(told: Told) -> None:
    assert told.look(later=100.0) == []


def test_sources_and_parts_are_said_once(told: Told) -> None:
    assert told.write("fetch: zlib: from the source archive in 2.9 s\n") == [
        "fetched zlib from the source archive in 2.9 s"
    ]
    assert told.write("fetch: big.tar: 3.1 of 12.0 MB\n") == ["fetching big.tar: 3.1 of 12.0 MB"]
    assert told.write(f"zlib: building zlib-1.3.1-{HASH}\nzlib: configure\nzlib: make\n") == []
    assert told.write(f"zlib: built zlib-1.3.1-{HASH} in 4.9 s, 0.4 MB\n") == ["built zlib 1.3.1 in 4.9 s"]
    assert told.look(later=10 * INTERVAL) == []


def test_a_line_is_read_when_it_is_whole(told: Told) -> None:
    assert told.write("fetch: zlib: from the source archive in 2") == []
    assert told.write(".9 s\n") == ["fetched zlib from the source archive in 2.9 s"]


def test_what_takes_long_is_said_again_and_again(told: Told) -> None:
    told.write(f"nginx: building nginx-1.26.3-{HASH}\n")
    assert told.look(later=INTERVAL - 1) == []
    told.write(f"my-part: building my-part-2-rc1-{HASH}\n")
    assert told.look(later=INTERVAL) == ["building nginx 1.26.3 for 29 s", "building my-part 2-rc1 for 15 s"]
    assert told.look(later=1.0) == []
    told.write(f"nginx: built nginx-1.26.3-{HASH} in 35.0 s, 1.0 MB\n")
    assert told.look(later=INTERVAL) == ["building my-part 2-rc1 for 31 s"]


def test_a_followed_log_is_read_to_its_end(told: Told) -> None:
    with told.log.followed():
        told.path.write_text(f"zlib: built zlib-1.3.1-{HASH} in 4.9 s, 0.4 MB\n")
    assert told.said == ["built zlib 1.3.1 in 4.9 s"]
