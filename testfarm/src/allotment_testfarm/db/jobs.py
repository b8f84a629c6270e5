# SPDX-License-Identifier: Apache-2.0
"""Jobs: one software release in one mode on one platform at one revision."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_testfarm.db import events, inputs
from allotment_testfarm.db.schema import attempts, jobs, manifests, projects, revisions
from allotment_testfarm.discovery import Release
from allotment_testfarm.verdicts import Colour, Verdict

_project = sa.select(jobs.c.project_id).where(jobs.c.id == sa.bindparam("job")).scalar_subquery()
# Made once: each verdict asks it.
_TURN: Final = sa.select(projects.c.id).where(projects.c.id == _project).with_for_update(key_share=True)


@dataclass(frozen=True)
class JobSummary:
    """A job as lists show it."""

    id: int
    project: str
    revision: str  # full commit hash
    position: int  # the revision's
    release: str
    profile: str
    kind: str
    platform: str
    state: JobState
    outcome: Outcome | None  # of the last attempt, once the job is done
    verdict: Verdict | None
    created: float
    started: float | None  # of the first attempt
    ended: float | None
    cancelled: bool
    attempts: int
    node: str | None  # of the newest attempt
    input_hash: str | None = None  # of all that it can see; None before a test node took it, or when it can't be told
    proved_by: int | None = None  # job with the same inputs: this one was not run and has ended as that one did

    @property
    def seconds(self) -> float | None:
        """How long it took from the first attempt's start; None while it has not ended."""
        return None if self.started is None or self.ended is None else self.ended - self.started


# Made once: each revision uses it.
_ADD: Final = sa.insert(jobs).values(compared_with=inputs.LAST_CONCLUSIVE.scalar_subquery())


def create(
    connection: sa.Connection, project: int, revision: int, position: int, releases: Iterable[Release], now: float
) -> tuple[int, ...]:
    """Add a waiting job for each release of a revision that has none yet; return the new jobs' ids."""
    rows = sa.select(jobs.c.id, jobs.c.release, jobs.c.kind, jobs.c.platform).where(jobs.c.revision_id == revision)
    known = {tuple(row[1:]) for row in connection.execute(rows)}
    new: dict[tuple[str, str, str], Release] = {}
    for release in releases:
        if (key := (release.name, release.kind, release.platform)) not in known:
            new.setdefault(key, release)
    if not new:
        return ()
    files = _files(connection, new.values())
    added = [
        {
            "revision_id": revision,
            "release": release.name,
            "kind": release.kind,
            "platform": release.platform,
            "project_id": project,
            "position": position,
            "profile": release.profile,
            "timeout": release.timeout,
            "priority": release.priority,
            "is_fresh": release.is_fresh,
            "options": dict(release.options),
            "state": JobState.WAITING,
            "created": now,
            "files": sha256,
            "files_problem": release.problem,
            "last_project_id": project,
            "last_release": release.name,
            "last_kind": release.kind,
            "last_platform": release.platform,
        }
        for release, sha256 in zip(new.values(), files, strict=True)
    ]
    connection.execute(_ADD, added)
    made = {row.id: row.release for row in connection.execute(rows.order_by(jobs.c.id)) if tuple(row[1:]) in new}
    shown = sa.select(projects.c.name.label("project"), revisions.c.commit.label("revision")).join(revisions)
    data = connection.execute(shown.where(revisions.c.id == revision)).one()._mapping
    told = [(f"job/{number}", {**data, "release": release}) for number, release in made.items()]
    events.record_all(connection, now, "job.created", told)
    return tuple(made)


def of_kind(connection: sa.Connection, revision: int, kind: str) -> tuple[int, ...]:
    """Return a revision's jobs of one kind."""
    query = sa.select(jobs.c.id).where(jobs.c.revision_id == revision, jobs.c.kind == kind).order_by(jobs.c.id)
    return tuple(connection.execute(query).scalars())


def _files(connection: sa.Connection, releases: Collection[Release]) -> tuple[str | None, ...]:
    """Store what jobs see of their commit, and of what they are told to do; None where that can't be told."""
    inputs.put_groups(connection, (group for release in releases for group in (release.files or {}).values()))
    documents = [
        None if release.files is None else inputs.files(release.files, release.options) for release in releases
    ]
    return inputs.put_all(connection, documents)


def take_turn(connection: sa.Connection, job: int) -> None:
    """Wait until no other transaction judges or retries jobs of the same project: each must see what the other did.

    PostgreSQL runs transactions side by side; on SQLite one that writes is alone anyway.
    """
    connection.execute(_TURN, {"job": job})


def cancel(connection: sa.Connection, job: int, now: float) -> bool:
    """Cancel a job: a waiting one ends at once, a leased one is told at its next heartbeat; False when it is done."""
    waiting = (
        sa.update(jobs)
        .where(jobs.c.id == job, jobs.c.state == JobState.WAITING)
        .values(state=JobState.DONE, outcome=Outcome.CANCELLED, cancelled=True, ended=now)
    )
    leased = sa.update(jobs).where(jobs.c.id == job, jobs.c.state == JobState.LEASED).values(cancelled=True)
    if not (connection.execute(waiting).rowcount or connection.execute(leased).rowcount):
        return False
    events.record(connection, now, "job.cancelled", f"job/{job}")
    return True


def retry(connection: sa.Connection, job: int, now: float) -> bool:
    """Make a job that is done wait again; False when it is not done. Its attempts stay, and go on counting.

    It is run whatever other jobs have shown, and has no verdict until it ends; then newer ones are judged again, too.
    Jobs that it has proved wait with it: they end as it does now, or are run.
    """
    values = {
        "state": JobState.WAITING,
        **dict.fromkeys(("outcome", "verdict", "colour", "verdict_since", "started", "ended", "proved_by")),
        **dict.fromkeys(("verdict_detail", "avoid"), ""),
        **dict.fromkeys(("avoid_until", "ready", "tries"), 0),
        "cancelled": False,
    }
    take_turn(connection, job)
    done = sa.update(jobs).where(jobs.c.id == job, jobs.c.state == JobState.DONE)
    if not connection.execute(done.values(**values, is_fresh=True)).rowcount:
        return False
    own = jobs.alias()
    files = sa.select(own.c.files).where(own.c.id == job).scalar_subquery()  # for the index: they have the same
    proved = sa.update(jobs).where(jobs.c.files == files, jobs.c.proved_by == job).returning(jobs.c.id)
    for number in (job, *sorted(connection.execute(proved.values(**values)).scalars())):
        events.record(connection, now, "job.retried", f"job/{number}")
    return True


def get(connection: sa.Connection, job: int) -> JobSummary | None:
    """Return one job."""
    row = connection.execute(summaries().where(jobs.c.id == job)).one_or_none()
    return None if row is None else summary(row)


def newer_green(connection: sa.Connection, job: int) -> int | None:
    """Return the newest green job of the same release, of any kind, at a newer revision than that of ``job``.

    So is one that runs again, and has no colour now, when it has made a manifest that is signed.
    """
    own, other = jobs.alias(), jobs
    same = (own.c[name] == other.c[name] for name in ("project_id", "release", "platform"))
    made = sa.exists().where(manifests.c.sha256 == attempts.c.manifest)
    signed = sa.exists().where(attempts.c.job_id == other.c.id, attempts.c.outcome == Outcome.PASSED, made)
    query = (
        sa.select(other.c.id)
        .join(own, sa.and_(*same, other.c.position > own.c.position))
        .where(own.c.id == job, sa.or_(other.c.colour == Colour.GREEN, signed))
        .order_by(other.c.position.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()


def page(
    connection: sa.Connection,
    project: int | None = None,
    *,
    revision: str | None = None,
    release: str | None = None,
    state: JobState | None = None,
    colour: Colour | None = None,
    limit: int = 50,
    before: int | None = None,
) -> tuple[JobSummary, ...]:
    """Return up to ``limit`` jobs that match all that is given, newest first; ``before`` is the lowest id so far."""
    # Jobs are chosen before anything is joined to them: what is sorted then is numbers, and not whole rows.
    chosen = sa.select(jobs.c.id).order_by(jobs.c.id.desc()).limit(limit)
    if project is not None:
        chosen = chosen.where(jobs.c.project_id == project)
    if revision is not None:
        chosen = chosen.where(jobs.c.revision_id.in_(sa.select(revisions.c.id).where(revisions.c.commit == revision)))
    if release is not None:
        chosen = chosen.where(jobs.c.release == release)
    if state is not None:
        chosen = chosen.where(jobs.c.state == state)
    if colour is not None:
        chosen = chosen.where(jobs.c.colour == colour)
    if before is not None:
        chosen = chosen.where(jobs.c.id < before)
    query = summaries().where(jobs.c.id.in_(chosen)).order_by(jobs.c.id.desc())
    return tuple(summary(row) for row in connection.execute(query))


def summaries() -> sa.Select[Any]:
    """Return the query whose rows :func:`summary` reads; add conditions on ``jobs`` and ``revisions``."""
    number = sa.select(sa.func.count()).where(attempts.c.job_id == jobs.c.id).scalar_subquery()
    newest = sa.select(attempts.c.node).where(attempts.c.job_id == jobs.c.id).order_by(attempts.c.number.desc())
    return (
        sa.select(
            jobs,
            projects.c.name.label("project_name"),
            revisions.c.commit,
            number.label("attempt_count"),
            newest.limit(1).scalar_subquery().label("node"),
        )
        .join(projects, projects.c.id == jobs.c.project_id)
        .join(revisions, revisions.c.id == jobs.c.revision_id)
    )


def summary(row: Any) -> JobSummary:
    """Return a row of :func:`summaries` as an object."""
    return JobSummary(
        id=row.id,
        project=row.project_name,
        revision=row.commit,
        position=row.position,
        release=row.release,
        profile=row.profile,
        kind=row.kind,
        platform=row.platform,
        state=JobState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        verdict=verdict_of(row),
        created=row.created,
        started=row.started,
        ended=row.ended,
        cancelled=row.cancelled,
        attempts=row.attempt_count,
        node=row.node,
        input_hash=row.input_hash,
        proved_by=row.proved_by,
    )


def verdict_of(row: Any) -> Verdict | None:
    """Return the verdict that a row of ``jobs`` holds, None before it has one."""
    return verdict_of_columns(row.verdict, row.colour, row.verdict_detail, row.verdict_since)


def verdict_of_columns(name: str | None, colour: str, detail: str, since: str | None) -> Verdict | None:
    """Return the verdict that these columns hold, None where there is none."""
    return None if name is None else Verdict(name, Colour(colour), detail, since or "")
