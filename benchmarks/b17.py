# SPDX-License-Identifier: Apache-2.0
"""B17: the list of 100 jobs, read by 1, 20 and 200 at a time: latency, answers a second, answers that never come.

Ours is read over a database with five years of history, Buildbot's over one with its first 100 builds. The readers are
one process that shares the machine with the server. ``anew`` is the median of pages that nobody has asked for before:
the others are kept as bytes until something happens.
"""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import five_years, peers, postgresql
from benchmarks.buildbot import Buildbot
from benchmarks.measure import Result, main
from benchmarks.web import Web

GOAL_MS = 5
GOAL_RATE = 1000  # a second, with 20 readers
READERS = (1, 20, 200)
OURS = "/api/v1/jobs?limit=100"
PEER = "/api/v2/builds?limit=100&order=-buildid"
LENGTH = 100  # of the list


def read(port: int, path: str, readers: int, seconds: float) -> dict[str, Any]:
    """Let so many read a page for so long."""
    command = [sys.executable, str(Path(__file__).with_name("readers.py")), str(port), path, str(readers), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def anew(port: int, newest: int) -> float:
    """Return the median milliseconds of pages that are not kept."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    seconds = []
    for number in range(30):
        started = time.perf_counter()
        connection.request("GET", f"{OURS}&before={newest - number}")
        items = json.loads(connection.getresponse().read())["items"]
        seconds.append(time.perf_counter() - started)
        if len(items) != LENGTH:
            raise RuntimeError(f"a list of {len(items)} jobs")
    connection.close()
    return round(statistics.median(seconds) * 1000, 2)


def fill(buildbot: Buildbot) -> None:
    """Let a list be full."""
    with buildbot.connection() as connection:
        asked = [connection.force(buildbot.builder(number), number) for number in range(LENGTH)]
    for request in asked:
        buildbot.wait(request)


def start_peer(folder: Path, url: str, stack: ExitStack) -> tuple[Buildbot | None, str]:
    """Return Buildbot with a full list, or None, and what to say of that."""
    try:
        buildbot = stack.enter_context(Buildbot(folder, url))
    except peers.MissingError as error:
        return None, str(error)
    fill(buildbot)
    return buildbot, f"{peers.BUILDBOT[0]} with {LENGTH} builds, measured in turn"


def measure(quick: bool) -> Result:
    seconds = 2.0 if quick else 10.0
    revisions = 600 if quick else five_years.REVISIONS
    found: dict[str, dict[int, Any]] = {"ours": {}, "peer": {}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b17-")))
        server = stack.enter_context(postgresql.server())
        urls = [server.create(name) if server else "" for name in ("ours", "peer")]
        web = stack.enter_context(Web(folder, urls[0], revisions))
        pages = {"ours": (int(urlsplit(web.url).port or 0), OURS)}
        fresh = anew(pages["ours"][0], web.jobs)
        buildbot, note = start_peer(folder, urls[1], stack)
        if buildbot is not None:
            pages["peer"] = buildbot.port, PEER
        for readers in READERS:
            for side, (port, path) in pages.items():
                found[side][readers] = read(port, path, readers, seconds)
    ours = found["ours"]
    lost = sum(item["lost"] + item["refused"] for item in ours.values())
    return Result(
        id="B17",
        what="list of 100 jobs, one reader",
        ours=ours[1]["median_ms"],
        peer=found["peer"].get(1, {}).get("median_ms"),
        unit="ms",
        goal="<= 5 ms; >= 1,000/s with 20 readers; 0 lost",
        holds=ours[1]["median_ms"] <= GOAL_MS and ours[20]["per_second"] >= GOAL_RATE and not lost,
        details={"readers": found, "anew_ms": fresh, "jobs": web.jobs, "peer_note": note},
    )


if __name__ == "__main__":
    sys.exit(main(measure))
