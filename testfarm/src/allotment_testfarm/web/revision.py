# SPDX-License-Identifier: Apache-2.0
"""What a revision's page says: what the commit changed, then every job of it, complete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db import jobs, projects, revisions
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names
from allotment_testfarm.web.grid import NEW_FAILURE
from allotment_testfarm.web.look import Look
from allotment_testfarm.web.results import job_look

MOST_JOBS = 1000  # of one revision


@dataclass(frozen=True)
class JobView:
    """A job's row; ``percent`` is its time, of the longest one's."""

    job: JobSummary
    name: str
    href: str  # of the release's page
    look: Look
    detail: str
    percent: float | None


@dataclass(frozen=True)
class Group:
    """Jobs that ended alike, under a title that counts them."""

    title: str
    jobs: tuple[JobView, ...]


def find(connection: sa.Connection, commit: str) -> tuple[int, Revision] | None:
    """Return the revision whose hash begins with ``commit``, in whichever project, with the project's id."""
    for project in projects.all_projects(connection):
        if found := revisions.get(connection, project.id, commit):
            return project.id, found
    return None


def read(connection: sa.Connection, commit: str) -> dict[str, Any] | None:
    """Return what the template of the page shows; None when there is no such revision."""
    found = find(connection, commit)
    if found is None:
        return None
    project, revision = found
    listed = jobs.page(connection, project, revision=revision.commit, limit=MOST_JOBS)
    older = revisions.page(connection, project, 1, before=revision.position)
    newer = revisions.page(connection, project, 1, before=revision.position + 2)
    headline, colour = _headline(listed)
    return {
        "revision": revision,
        "groups": _groups(listed),
        "headline": headline,
        "changed": _changed(listed),
        "colour": colour,
        "is_moving": any(job.state is not JobState.DONE for job in listed),
        "older": older[0] if older else None,
        "newer": newer[0] if newer and newer[0].position > revision.position else None,
    }


def _groups(listed: Sequence[JobSummary]) -> tuple[Group, ...]:
    """Group jobs by how they ended: what needs a look comes first."""
    called = names.whole((job.release, job.kind, job.platform) for job in listed)
    longest = max((job.seconds or 0.0 for job in listed), default=0.0)
    groups: dict[str, list[JobView]] = {title: [] for title in _TITLES}
    for job in listed:
        key = job.release, job.kind, job.platform
        percent = None if job.seconds is None or not longest else round(100 * job.seconds / longest, 1)
        detail = job.verdict.detail if job.verdict else ""
        view = JobView(job, called[key], names.release_href(job.project, key), job_look(job), detail, percent)
        groups[_title(job)].append(view)
    return tuple(
        Group(f"{title}: {len(found)}", tuple(sorted(found, key=lambda view: view.name)))
        for title, found in groups.items()
        if found
    )


_NEW, _FIXED, _RED, _OPEN, _OTHER, _GREEN = _TITLES = (
    *("New failures", "Fixed", "Still failing"),
    *("Not done yet", "Without a verdict on the software", "Green as before"),
)


def _title(job: JobSummary) -> str:
    if job.state is not JobState.DONE:
        return _OPEN
    if job.verdict is None or job.verdict.colour is Colour.GREY:
        return _OTHER
    if job.verdict.colour is Colour.RED:
        return _NEW if job.verdict.name == NEW_FAILURE or job.verdict.since == job.revision else _RED
    return _FIXED if job.verdict.name == "fixed" else _GREEN


def _changed(listed: Sequence[JobSummary]) -> str:
    """Say in one line what this commit did to the releases."""
    titles = [_title(job) for job in listed]
    parts = [f"{verb} {titles.count(title)}" for verb, title in (("broke", _NEW), ("fixed", _FIXED)) if title in titles]
    if parts:
        return f"It {' and '.join(parts)}."
    return "" if _OPEN in titles or not listed else "It changed no release's colour."


def _headline(listed: Sequence[JobSummary]) -> tuple[str, str]:
    red = sum(job.verdict is not None and job.verdict.colour is Colour.RED for job in listed)
    green = sum(job.verdict is not None and job.verdict.colour is Colour.GREEN for job in listed)
    pending = sum(job.state is not JobState.DONE for job in listed)
    if not listed:
        return "Nothing to test", "off"
    parts = [(red, "red"), (green, "green"), (pending, "not done yet"), (len(listed) - red - green - pending, "grey")]
    text = ", ".join(f"{number} {word}" for number, word in parts if number)
    colour = "bad" if red else "busy" if pending else "good" if green == len(listed) else "warn"
    return f"{len(listed)} job{'' if len(listed) == 1 else 's'}: {text}", colour
