# SPDX-License-Identifier: Apache-2.0
"""What the queue's page says: what runs, what waits and why, when the next night's jobs come."""

from typing import Any

import sqlalchemy as sa

from allotment_testfarm.db import projects, queue
from allotment_testfarm.db.queue import OpenJob, Queue
from allotment_testfarm.web import names


def read(connection: sa.Connection, now: float) -> dict[str, Any]:
    """Return what the template of the page shows."""
    found = queue.read(connection, now)
    nights = [project for project in projects.all_projects(connection) if project.nightly]
    return {
        "queue": found,
        "headline": headline(found),
        "nights": nights,
        "name": _name,
        "is_moving": bool(found.running or found.waits),
    }


def headline(found: Queue) -> str:
    """Say in one line how much there is to do."""
    if not found.running and not found.waits:
        return "Nothing runs and nothing waits."
    runs = f"{len(found.running)} job{' runs' if len(found.running) == 1 else 's run'}"
    return f"{runs}, {found.waits} wait{'s' if found.waits == 1 else ''}."


def _name(job: OpenJob) -> str:
    key = (job.release, job.kind, job.platform)
    return names.whole([key])[key]
