# SPDX-License-Identifier: Apache-2.0
"""What a release's page says: how it is, since when, its stretches of green and red, how long its jobs took."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment.terminal import duration
from allotment_testfarm.db import history
from allotment_testfarm.db.history import PastJob
from allotment_testfarm.db.matrix import Key
from allotment_testfarm.db.projects import Project
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names
from allotment_testfarm.web.look import Look
from allotment_testfarm.web.results import job_look

WINDOW = 100  # jobs on a page
_BESIDE = 30  # newest jobs of the release's other kinds
_SMALLEST = 1.5  # percent of the chart's height: a short job is still seen


@dataclass(frozen=True)
class Entry:
    """A job of the history."""

    job: PastJob
    look: Look
    detail: str


@dataclass(frozen=True)
class Bar:
    """A job in the chart; ``height`` is percent, 0 of a job that was not run."""

    job: int
    look: Look
    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """How long jobs took, the newest first, on a scale from 0 to ``top``."""

    bars: tuple[Bar, ...]
    top: str
    median: str
    newest: float  # UTC epoch
    oldest: float


@dataclass(frozen=True)
class Stretch:
    """Revisions one after the other at which the release had the same colour."""

    look: Look
    first: PastJob  # the oldest one
    last: PastJob
    jobs: int
    goes_on: bool  # it began before what the page shows


@dataclass(frozen=True)
class Beside:
    """The newest jobs of the same release in another kind or on another platform."""

    name: str
    href: str
    entries: tuple[Entry, ...]


def read(connection: sa.Connection, project: Project, key: Key, before: int | None) -> dict[str, Any] | None:
    """Return what the template of the page shows; None when the release has no such jobs."""
    called = names.whole(history.kinds(connection, project.id, key[0]))
    if key not in called:
        return None
    found = history.page(connection, project.id, key, WINDOW + 1, before)
    shown = found[:WINDOW]
    has_older = len(found) > WINDOW
    entries = tuple(_entry(job) for job in shown)
    stretches = _stretches(shown, has_older)
    return {
        "key": key,
        "name": called[key],
        "entries": entries,
        "chart": _chart(entries),
        "stretches": stretches,
        "headline": _headline(entries, stretches),
        "beside": tuple(_beside(connection, project, *other) for other in called.items() if other[0] != key),
        "is_moving": any(job.state is not JobState.DONE for job in shown),
        "newest_href": names.release_href(project.name, key) if before is not None else "",
        "older_href": names.release_href(project.name, key, before=shown[-1].position) if has_older else "",
    }


def _entry(job: PastJob) -> Entry:
    return Entry(job, job_look(job), job.verdict.detail if job.verdict else "")


def _headline(entries: Sequence[Entry], stretches: Sequence[Stretch]) -> Look | None:
    """Return how the newest green or red job was, else how the newest is."""
    return stretches[0].look if stretches else entries[0].look if entries else None


def _stretches(jobs: Sequence[PastJob], has_older: bool) -> tuple[Stretch, ...]:
    """Return the stretches of green and red, the newest first; what has no colour counts for none."""
    coloured = [job for job in jobs if job.verdict is not None and job.verdict.colour is not Colour.GREY]
    found = []
    for colour, group in groupby(coloured, key=_colour):
        run = list(group)
        look = Look("✓", "green", "good") if colour is Colour.GREEN else Look("✗", "red", "bad")
        goes_on = has_older and run[-1] is coloured[-1]
        found.append(Stretch(look, run[-1], run[0], len(run), goes_on))
    return tuple(found)


def _colour(job: PastJob) -> Colour | None:
    return job.verdict.colour if job.verdict else None


def _chart(entries: Sequence[Entry]) -> Chart | None:
    times = [entry.job.seconds for entry in entries if entry.job.seconds is not None]
    if len(times) < 2:
        return None
    top = max(times)
    bars = tuple(_bar(entry, top) for entry in entries)
    return Chart(bars, duration(top), duration(median(times)), entries[0].job.time, entries[-1].job.time)


def _bar(entry: Entry, top: float) -> Bar:
    seconds = entry.job.seconds
    height = 0.0 if seconds is None else max(100 * seconds / max(top, 0.001), _SMALLEST)
    took = "not run" if seconds is None else duration(seconds)
    words = f"{entry.job.commit[:10]} {entry.look.word}, {took}: {entry.job.subject}"
    return Bar(entry.job.id, entry.look, round(height, 1), words)


def _beside(connection: sa.Connection, project: Project, key: Key, name: str) -> Beside:
    found = history.page(connection, project.id, key, _BESIDE)
    return Beside(name, names.release_href(project.name, key), tuple(_entry(job) for job in found))
