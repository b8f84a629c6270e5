# SPDX-License-Identifier: Apache-2.0
"""What people see of a build, by the events that it writes."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.recipes.graph.conftest import Graph

from allotment_recipes.follow import Follow
from allotment_recipes.graph.durations import expected
from allotment_recipes.graph.events import EVENTS, Event, parse, read
from allotment_recipes.graph.progress import Progress, span

START = 1_000_000.0


def events(*found: tuple[float, str, str, float | None]) -> list[Event]:
    return [Event(START + at, part, event, expected=seconds, path=seconds) for at, part, event, seconds in found]


def fed(*found: tuple[float, str, str, float | None]) -> tuple[Progress, list[str]]:
    lines: list[str] = []
    progress = Progress(lines.append)
    for event in events(*found):
        progress.take(event)
    return progress, lines


def test_each_end_is_a_line_with_its_number_and_its_time() -> None:
    progress, lines = fed(
        (0, "zlib", "waiting", None), (0, "xz", "waiting", None), (0, "bzip2", "reused", None),
        (1, "zlib", "started", None), (2, "xz", "started", None), (10.8, "zlib", "built", None),
        (132, "xz", "failed", None),
    )  # fmt: skip
    assert lines == ["[1/2] zlib built in 9.8 s", "[2/2] xz failed after 2 min 10 s"]
    assert progress.summary(START) == "2 of 2 done, 0 at work, 1 reused"


def test_what_is_left_is_the_longest_way_or_all_work_on_those_at_work() -> None:
    beginning = ((0, "one", "waiting", 10.0), (0, "two", "waiting", 10.0), (0, "three", "waiting", 10.0))
    alone, _ = fed(*beginning, (0, "one", "started", 10.0))
    assert alone.left(START + 4) == 26
    both, _ = fed(*beginning, (0, "one", "started", 10.0), (0, "two", "started", 10.0))
    assert both.left(START + 4) == 11
    late, _ = fed((0, "one", "waiting", 10.0), (0, "one", "started", 10.0))
    assert late.left(START + 60) == 0


def test_nothing_is_said_of_the_end_when_no_duration_is_known() -> None:
    progress, _ = fed((0, "one", "waiting", None))
    assert progress.left(START) is None
    assert progress.summary(START) == "0 of 1 done, 0 at work"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"), (3599.6, "1 h 00 min")]
)
def test_a_time_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_line_that_a_full_disk_has_cut_off_hides_no_other(tmp_path: Path) -> None:
    line = b'{"at": 1, "part": "one", "event": "%s"}\n'
    text = line % b"waiting" + line[:20] + line % b"started" + line % b"built"
    (tmp_path / EVENTS).write_bytes(text)
    assert [event.event for event in read(tmp_path)] == ["waiting", "built"]
    lines: list[str] = []
    Progress(lines.append).add(text)
    assert lines == ["[1/1] one built in 0.0 s"]


def test_what_is_left_is_told_while_events_come_on_another_thread() -> None:
    progress, _ = fed(*((0, f"part{number}", "waiting", 1.0) for number in range(200)))
    beginning, end = events((1, "other", "started", 1.0), (2, "other", "built", None))
    (waiting,) = events((0, "other", "waiting", 1.0))
    ended, before = threading.Event(), sys.getswitchinterval()

    def come() -> None:
        while not ended.is_set():
            for event in (waiting, beginning, end):
                progress.take(event)

    thread = threading.Thread(target=come)
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for _ in range(300):
            assert progress.left(START) is not None
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(before)


def test_a_file_that_is_replaced_or_begun_anew_is_followed_from_its_beginning(tmp_path: Path) -> None:
    path, found = tmp_path / "events", list[bytes]()
    path.write_bytes(b"of the last build\n")
    follow = Follow(path, found.append)
    path.unlink()
    path.write_bytes(b"new\n")
    follow._copy()
    path.write_bytes(b"")
    path.write_bytes(b"x\n")
    follow._copy()
    assert b"".join(found) == b"new\nx\n"


def test_the_last_duration_of_a_part_counts_and_no_other_part_of_a_like_name(tmp_path: Path) -> None:
    built = tmp_path / ".built"
    built.mkdir()
    for number, (name, part, seconds) in enumerate(
        [("zlib-1-a", "zlib", 1.0), ("zlib-2-b", "zlib", 2.0), ("zlib-ng-1-c", "zlib-ng", 3.0)]
    ):
        (built / f"{name}.json").write_text(json.dumps({"part": part, "seconds": seconds}))
        os.utime(built / f"{name}.json", (number, number))
    (built / "zlib-3-d.json").write_text("{")
    assert expected(tmp_path, "zlib") == 2.0
    assert expected(tmp_path, "zlib-ng") == 3.0
    assert expected(tmp_path, "xz") is None
    assert expected(tmp_path / "none", "xz") is None


def command(graph: Graph, *words: str) -> list[str]:
    folder = graph.release.root
    (folder / "software.cfg.json").write_text(
        json.dumps(
            {
                "format": 1,
                "name": "root",
                "types": {
                    "default": {
                        "title": "It",
                        "description": "It",
                        "profile": "note",
                        "parameters": "any.json",
                        "published": "any.json",
                    }
                },
            }
        )
    )
    (folder / "any.json").write_text('{"type": "object"}')
    return [
        sys.executable, "-m", "allotment", "build", str(folder), "--folder", f"{graph.place}/built",
        "--store", f"{graph.place}/s", "--sources", str(graph.release.sources), *words,
    ]  # fmt: skip


NOTE = "\n[note]\nrecipe = allotment.recipes:template.jinja2\ninline = it\noutput = ${buildout:directory}/note\n"


def write(graph: Graph) -> None:
    graph.write({"one": "", "two": "one | pre-build = sleep 0.5"})
    path = graph.release.root / "software.cfg"
    path.write_text(path.read_text().replace("parts = ", "parts = note ") + NOTE)


def test_the_command_tells_each_part_as_a_line_where_there_is_no_terminal(graph: Graph) -> None:
    write(graph)
    done = subprocess.run(command(graph, "--jobs", "2"), capture_output=True, text=True, check=True)
    told = re.findall(r"^\[\d/\d\] \w+ built in [\d.]+ s$", done.stderr, re.MULTILINE)
    assert [line.split()[:2] for line in told] == [["[1/2]", "one"], ["[2/2]", "two"]]
    again = subprocess.run(command(graph), capture_output=True, text=True, check=True)
    assert "[1/" not in again.stderr


def test_a_terminal_sees_what_is_at_work(graph: Graph) -> None:
    write(graph)
    path = graph.release.root / "software.cfg"
    path.write_text(path.read_text().replace("sleep 0.5", "while [ ! -e ${one:location}/go ]; do sleep 0.05; done"))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(graph), stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ):
        os.close(theirs)
        seen, text = b"", ""
        while True:
            try:
                seen += os.read(ours, 1 << 16)
            except OSError:  # nobody writes there any more
                break
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode(errors="replace"))
            if "1 of 2 done, 1 at work" in text:
                (part,) = graph.store.glob("one-*")
                part.chmod(0o755)
                (part / "go").touch()
    os.close(ours)
    assert re.search(r"\[2/2\] two built in [\d.]+ s", text)


def test_an_event_of_a_later_version_is_read() -> None:
    assert list(parse([b'{"at": 1, "part": "x", "event": "built", "more": true}'])) == [Event(1, "x", "built")]
