# SPDX-License-Identifier: Apache-2.0
"""A log as it is written, over HTTP, from the real process."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil


def web_of(folder: Path) -> psutil.Process:
    """The web tier over a folder."""
    return psutil.Process(json.loads((folder / "web.json").read_text())["pid"])


def shown(events: list[dict[str, Any]]) -> dict[int, str]:
    """What a page has after these events."""
    lines: dict[int, str] = {}
    for event in events:
        lines.update(event["data"].get("lines", ()))
    return lines


def test_lines_come_as_they_are_written_until_the_attempt_has_ended(logs: Any, follow: Any) -> None:
    job = logs.job(b"one\n", is_running=True)
    events = follow(job)
    assert events.next() == {"id": "4-2", "data": {"skipped": None, "lines": [[1, "one"]], "size": 4}}
    logs.write(job, b"\x1b[32mtwo\nthree")
    got = events.until(3)
    assert shown(got) == {2: '<span class="c2">two</span>', 3: '<span class="c2">three</span>'}
    logs.write(job, b" and more\nfour\n")
    assert shown(events.until(4))[3] == '<span class="c2">three and more</span>'
    logs.end(job)
    assert events.next() == {"event": "end", "data": {"is_done": True}}
    assert events.next() is None


def test_a_log_that_is_not_there_yet_is_waited_for(logs: Any, follow: Any) -> None:
    job = logs.job(is_running=True)
    events = follow(job)
    logs.write(job, b"first\n")
    assert shown(events.until(1)) == {1: "first"}


def test_a_job_that_is_tried_again_says_so(logs: Any, follow: Any) -> None:
    job = logs.job(b"one\n", is_running=True)
    events = follow(job)
    events.until(1)
    logs.end(job, state="waiting")
    assert events.next() == {"event": "end", "data": {"is_done": False}}


def test_a_log_that_has_ended_is_sent_and_ends(logs: Any, follow: Any) -> None:
    events = follow(logs.job(b"one\ntwo"))
    assert shown(events.until(2)) == {1: "one", 2: "two"}
    assert events.next()["event"] == "end"


def test_a_reader_goes_on_where_it_stopped(logs: Any, follow: Any) -> None:
    job = logs.job(b"one\ntwo\nthr", is_running=True)
    last = follow(job).until(3)[-1]
    assert last["id"] == "8-3"
    logs.write(job, b"ee\nfour\n")
    again = follow(job, **{"Last-Event-ID": last["id"]})
    assert shown(again.until(4)) == {3: "three", 4: "four"}
    assert shown(follow(job, offset=14).until(4)) == {4: "four"}
    for wrong in ("x", "9-", "-"):
        assert follow(job, **{"Last-Event-ID": wrong}).next()["data"]["lines"][0] == [1, "one"]
    logs.write(job, b"fi")
    assert shown(follow(job, **{"Last-Event-ID": "99999999999-1"}).until(5)) == {5: "fi"}


def test_every_reader_gets_every_line(logs: Any, follow: Any) -> None:
    job = logs.job(b"", is_running=True)
    readers = [follow(job) for _ in range(30)]
    with ThreadPoolExecutor(30) as threads:
        got = [threads.submit(reader.until, 400) for reader in readers]
        for number in range(1, 401):
            logs.write(job, b"line %d\n" % number)
        for reading in got:
            assert shown(reading.result()) == {number: f"line {number}" for number in range(1, 401)}


def test_who_is_far_behind_is_told_what_was_left_out(logs: Any, follow: Any) -> None:
    line = b"x" * 99 + b"\n"
    job = logs.job(line * 100, is_running=True)
    logs.write(job, line * 200_000)
    (event,) = follow(job, offset=len(line) * 50).until(1)
    first, last = event["data"]["skipped"]
    assert first == 51 and last > 190_000
    assert event["data"]["lines"][0][0] == last + 1


def test_a_reader_that_does_not_read_costs_no_memory(
    tmp_path: Path, run_web: Callable[..., AbstractContextManager[str]], logs: Any
) -> None:
    farm = type(logs)(tmp_path)
    with run_web(tmp_path) as url:
        job = farm.job(b"begin\n", is_running=True)
        address = urlsplit(url)
        process = web_of(tmp_path)
        sockets = []
        for _ in range(5):
            connection = socket.create_connection((str(address.hostname), int(address.port or 0)))
            connection.sendall(b"GET /api/v1/jobs/%d/log/live HTTP/1.1\r\nHost: localhost\r\n\r\n" % job)
            assert b"begin" in _until(connection, b"begin")
            sockets.append(connection)
        before = process.memory_info().rss
        for _ in range(60):
            farm.write(job, b"a line of a log that nobody reads\n" * 30_000)
        with httpx2.Client() as client:  # the others are served meanwhile
            assert client.get(f"{url}/api/v1/jobs/{job}/log/lines?from=1000000").json()["lines"]
        assert process.memory_info().rss - before < 40 << 20
        for connection in sockets:
            connection.close()
    farm.database.close()


def _until(connection: socket.socket, word: bytes) -> bytes:
    data = b""
    while word not in data:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
    return data


def test_a_stop_ends_the_streams_at_once(
    tmp_path: Path, run_web: Callable[..., AbstractContextManager[str]], logs: Any
) -> None:
    farm = type(logs)(tmp_path)
    with run_web(tmp_path) as url:
        job = farm.job(b"one\n", is_running=True)
        client = httpx2.Client(timeout=60)
        stream = client.stream("GET", f"{url}/api/v1/jobs/{job}/log/live")
        lines = stream.__enter__().iter_lines()
        while "one" not in next(lines):
            pass
    rest = list(lines)  # leaving the block holds the web tier to a clean stop
    assert all(not line or line.startswith(":") for line in rest)
    client.close()
    farm.database.close()


def test_the_files_are_looked_at_once_for_all_and_not_without_readers(
    logs: Any, follow: Any, soon: Callable[[Callable[[], object]], None]
) -> None:
    process = web_of(logs.folder)
    quiet = process.num_threads()
    job = logs.job(b"one\n", is_running=True)
    readers = [follow(job) for _ in range(5)]
    for reader in readers:
        reader.until(1)
    assert process.num_threads() <= quiet + 16 + 1  # the handlers' threads, which stay, and one that looks
    for reader in readers:
        reader.close()
    logs.end(job)
