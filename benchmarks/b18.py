# SPDX-License-Identifier: Apache-2.0
"""B18: the results page of 80 releases x 200 revisions, with five years of history in the database.

The first byte is that of a page which nobody has asked for since something happened, so it is made anew; ``kept`` is
one that is kept. Complete is when chromium has loaded the page with all that belongs to it and laid it out, with an
empty cache; the bytes are those on the wire, with their headers. ``phone`` and ``no_script`` are two other ways to see
it. All get 30 revisions job by job, and those before as a strip. ``cpu`` is what the web tier needs to make the page,
and with a browser what that needs; ``floor`` is a page of a few bytes in the same browser, measured in turn.
Buildbot has no such page: its grid fetches 200 builds and guesses the rest.
"""

import http.client
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from allotment_testfarm.db import events
from benchmarks import five_years
from benchmarks.farm import cpu
from benchmarks.measure import Result, main, processes_cpu
from benchmarks.web import Web

GOALS = {"first_byte": 0.050, "complete": 0.300, "bytes": 60_000}
WINDOW = 30  # revisions job by job
REVISIONS = 200
ANEW = 20  # pages of which the CPU is told
SMALL = "/api/v1/nodes"  # a few bytes from the same server
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1920, "height": 1080}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 2},
    "no_script": {"viewport": {"width": 1920, "height": 1080}, "java_script_enabled": False},
}
_WINDOW = "() => document.querySelectorAll('table.grid .commits a').length"
_PAST = "() => Number(document.querySelector('table.grid').dataset.past)"
_LAID_OUT = "() => document.body.offsetHeight && performance.now()"


class Page:
    """The page, as it is asked for over a bare connection."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._address = urlsplit(web.url).netloc

    def first_byte(self, anew: bool) -> float:
        """Return the seconds until the page begins to come."""
        if anew:
            with self._web.database.write() as connection:
                events.record(connection, time.time(), "job.judged", "job/1")
        connection = http.client.HTTPConnection(self._address)
        connection.connect()
        started = time.perf_counter()
        connection.request("GET", "/", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        answer.read(1)
        seconds = time.perf_counter() - started
        answer.read()
        connection.close()
        return seconds


def see(browser: Any, web: Web, options: dict[str, Any]) -> dict[str, float]:
    """Load the page with an empty cache."""
    context = browser.new_context(**options)
    page = context.new_page()
    floor = load(page, f"{web.url}{SMALL}")
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    before = processes_cpu()
    seconds = load(page, web.url)
    page.wait_for_load_state("networkidle")  # what comes after the page is complete counts among the bytes
    spent = processes_cpu() - before
    shown = page.evaluate(_WINDOW), page.evaluate(_PAST)
    if shown != (WINDOW, REVISIONS - WINDOW):
        raise RuntimeError(f"the page shows {shown} revisions")
    context.close()
    return {"complete": seconds, "floor": floor, "cpu": spent, "bytes": sum(sizes)}


def load(page: Any, url: str) -> float:
    """Return the seconds from the navigation's start until the page is loaded and laid out."""
    page.goto(url, wait_until="load")
    return float(page.evaluate(_LAID_OUT)) / 1000


def measure(quick: bool) -> Result:
    from playwright.sync_api import sync_playwright

    rounds = 3 if quick else 15
    revisions = 600 if quick else five_years.REVISIONS
    with (
        tempfile.TemporaryDirectory(prefix="b18-") as name,
        Web(Path(name), revisions=revisions) as web,
        sync_playwright() as playwright,
    ):
        page, browser = Page(web), playwright.chromium.launch(executable_path=shutil.which("chromium"))
        first: dict[str, list[float]] = {"first_byte": [], "kept": []}
        seen: dict[str, list[dict[str, float]]] = {size: [] for size in SIZES}
        for _ in range(rounds + 1):  # the first is not counted: chromium and the web tier fill their caches
            first["first_byte"].append(page.first_byte(anew=True))
            first["kept"].append(page.first_byte(anew=False))
            for size, options in SIZES.items():
                seen[size].append(see(browser, web, options))
        browser.close()
        before = cpu(web.pid)
        for _ in range(ANEW):
            page.first_byte(anew=True)
        each = (cpu(web.pid) - before) / ANEW
    figures = {what: round(statistics.median(items[1:]), 4) for what, items in first.items()}
    sizes = {
        size: {what: round(statistics.median(item[what] for item in items[1:]), 3) for what in items[0]}
        for size, items in seen.items()
    }
    slowest = {what: max(item[what] for item in sizes.values()) for what in ("complete", "bytes")}
    return Result(
        id="B18",
        what="results page of 80 x 200: complete",
        ours=sizes["desktop"]["complete"],
        peer=None,
        unit="s",
        goal="<= 300 ms; first byte 50 ms; <= 60 kB",
        holds=all({**figures, **slowest}[what] <= most for what, most in GOALS.items()),
        details={
            **figures,
            "cpu": round(each, 4),
            **sizes,
            "jobs": web.jobs,
            "peer_note": "Buildbot's grid fetches 200 builds and guesses",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
