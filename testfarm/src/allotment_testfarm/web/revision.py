# SPDX-License-Identifier: Apache-2.0
"""What a revision's page says: every job of one commit, complete."""

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
from allotment_testfarm.web.look import Look
from allotment_testfarm.web.results import job_look

MOST_JOBS = 1000  # of one revision


@dataclass(frozen=True)
class JobView:
    """A job's row."""

    job: JobSummary
    name: str
    look: Look
    seconds: float | None
    detail: str


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
    called = names.whole((job.release, job.kind, job.platform) for job in listed)
    views = [_view(job, called[job.release, job.kind, job.platform]) for job in listed]
    older = revisions.page(connection, project, 1, before=revision.position)
    newer = revisions.page(connection, project, 1, before=revision.position + 2)
    headline, colour = _headline(listed)
    return {
        "revision": revision,
        "jobs": sorted(views, key=lambda view: (_rank(view.job), view.name)),
        "headline": headline,
        "colour": colour,
        "is_moving": any(job.state is not JobState.DONE for job in listed),
        "older": older[0] if older else None,
        "newer": newer[0] if newer and newer[0].position > revision.position else None,
    }


def _view(job: JobSummary, name: str) -> JobView:
    return JobView(job, name, job_look(job), job.seconds, job.verdict.detail if job.verdict else "")


def _rank(job: JobSummary) -> int:
    """Red first, then what has no verdict yet, then the rest."""
    if job.verdict is None:
        return 1
    return {Colour.RED: 0, Colour.GREY: 1}.get(job.verdict.colour, 2)


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
