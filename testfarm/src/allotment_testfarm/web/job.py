# SPDX-License-Identifier: Apache-2.0
"""What a job's page says: the verdict, the test cases, the steps on a time line, the log, the manifest."""

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import CaseOutcome, JobState, TestCase
from allotment.terminal import NONE
from allotment_testfarm.db import attempts, history, jobs, manifests, projects, revisions, waiting
from allotment_testfarm.db.attempts import AttemptDetail, JobDetail
from allotment_testfarm.db.history import PastJob
from allotment_testfarm.db.inputs import InputChange
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.matrix import Key
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names
from allotment_testfarm.web.look import Look, look
from allotment_testfarm.web.results import job_look
from allotment_testfarm.web.timeline import timeline

_BAD_CASES = (CaseOutcome.FAILED, CaseOutcome.ERROR)
_AROUND = 12  # jobs of the same release after and before
_PROMISES = {"passed": Look("✓", "kept", "good"), "failed": Look("✗", "broken", "bad")}
_CASE_ORDER = (CaseOutcome.FAILED, CaseOutcome.ERROR, CaseOutcome.PASSED, CaseOutcome.SKIPPED)


@dataclass(frozen=True)
class CaseView:
    """A test case with its look."""

    suite: str
    name: str
    look: Look
    seconds: float
    message: str
    line: int | None  # of the log


@dataclass(frozen=True)
class PromiseView:
    """A promise of a tested instance, as it was when the job ended."""

    instance: str
    name: str
    look: Look
    message: str


@dataclass(frozen=True)
class AttemptView:
    """A row of the table of attempts."""

    number: int
    look: Look
    node: str
    started: float
    seconds: float
    reason: str


@dataclass(frozen=True)
class ChangeView:
    """An input that is not what it was."""

    name: str
    how: str


@dataclass(frozen=True)
class NeighbourView:
    """A job of the same release at a revision nearby."""

    job: PastJob
    look: Look
    is_this: bool


@dataclass(frozen=True)
class ManifestView:
    """What a job proved, in the words of its manifest."""

    sha256: str
    name: str
    closure: str
    closure_size: int
    types: tuple[str, ...]
    licences: tuple[str, ...]
    keys: tuple[str, ...]
    offer: str


def read(connection: sa.Connection, number: int, attempt: int | None, now: float) -> dict[str, Any] | None:
    """Return everything that a job's page shows but the log; None when there is no such job or attempt."""
    detail = attempts.detail(connection, number)
    if detail is None:
        return None
    chosen = _choose(detail, attempt)
    if attempt is not None and chosen is None:
        return None
    cases = _cases(connection, detail, chosen)
    project = projects.get(connection, detail.job.project)
    assert project is not None  # a foreign key holds it
    return {
        "job": detail.job,
        "release_href": names.release_href(project.name, _key(detail.job)),
        "revision": detail.revision,
        "look": job_look(detail.job),
        "headline": _headline(detail, chosen),
        "detail": _detail(connection, detail.job, now),
        "took": _took(detail.job, now),
        "waited": (detail.job.started or detail.job.ended or now) - detail.job.created,
        "attempt": chosen,
        "attempts": tuple(_attempt(item, now) for item in detail.attempts),
        "timeline": timeline(chosen, now),
        **_promises(chosen),
        "why_no_steps": _why_no_steps(detail.job, chosen),
        "is_moving": detail.job.state is not JobState.DONE,
        "commands": commands(detail.job),
        "manifest": _manifest(connection, chosen),
        "proof": _proof(connection, detail.job),
        "changes": detail.changes,
        "changed": _changed(detail),
        "problem": detail.problem,
        **_case_groups(cases),
        **_history(connection, project.id, detail),
    }


def commands(job: JobSummary) -> str:
    """Return what runs the same job at a desk, in a clone of the repository."""
    folder = PurePosixPath(job.profile).parent
    return f"git fetch && git switch --detach {job.revision}\nallot release test {shlex.quote(str(folder))}"


def _choose(detail: JobDetail, number: int | None) -> AttemptDetail | None:
    if number is None:
        return detail.attempts[-1] if detail.attempts else None
    return next((item for item in detail.attempts if item.number == number), None)


def _cases(connection: sa.Connection, detail: JobDetail, chosen: AttemptDetail | None) -> tuple[TestCase, ...]:
    if chosen is None or chosen is detail.attempts[-1]:  # the newest one's are read with the job
        return () if chosen is None else chosen.cases
    return attempts.cases_of(connection, chosen.id)


def _case_groups(cases: tuple[TestCase, ...]) -> dict[str, Any]:
    """Split test cases into those that need attention and the others, and count both."""
    ordered = sorted(cases, key=lambda case: _CASE_ORDER.index(case.outcome))  # stable: else in the order they ran
    bad = [_case(case) for case in ordered if case.outcome in _BAD_CASES]
    other = [case for case in ordered if case.outcome not in _BAD_CASES]
    return {
        "cases": cases,
        "case_counts": _counts(ordered),
        "bad_cases": bad,
        "other_cases": [_case(case) for case in other],
        "other_counts": _counts(other),
    }


def _counts(cases: Iterable[TestCase]) -> str:
    return ", ".join(f"{number} {word}" for word, number in Counter(case.outcome.value for case in cases).items())


def _case(case: TestCase) -> CaseView:
    return CaseView(case.suite, case.name, look(case.outcome), case.seconds, case.message, case.line)


def _promises(attempt: AttemptDetail | None) -> dict[str, list[PromiseView]]:
    """Split promises into those that need attention and the others."""
    groups: dict[str, list[PromiseView]] = {"broken_promises": [], "kept_promises": []}
    for item in attempt.promises if attempt else ():
        shown = _PROMISES.get(item.status) or look(item.status)
        group = "kept_promises" if shown.colour == "good" else "broken_promises"
        groups[group].append(PromiseView(item.instance, item.name, shown, item.message))
    return groups


def _headline(detail: JobDetail, attempt: AttemptDetail | None) -> str:
    shown = job_look(detail.job)
    if detail.job.state is JobState.WAITING:
        return "Waiting for another test node" if attempt else "Waiting for a test node"
    if detail.job.state is JobState.LEASED:
        step = next((item.name for item in reversed(attempt.steps) if item.outcome is None), "") if attempt else ""
        return f"Running: {step}" if step else "Running"
    return shown.word.capitalize()


def _detail(connection: sa.Connection, job: JobSummary, now: float) -> str:
    """Say in one line why the job is as it is."""
    if job.state is JobState.DONE:
        return job.verdict.detail if job.verdict else ""
    if job.cancelled:
        return "It was cancelled: the test node is told at its next heartbeat."
    return waiting.why(connection, job.id, now).text if job.state is JobState.WAITING else ""


def _why_no_steps(job: JobSummary, attempt: AttemptDetail | None) -> str:
    if job.proved_by is not None:
        return f"It was not run: job {job.proved_by} ran with the same inputs."
    return "No test node has taken this job yet." if attempt is None else "The test node has not begun a step yet."


def _proof(connection: sa.Connection, job: JobSummary) -> JobSummary | None:
    """Return the job that has proved this one."""
    return None if job.proved_by is None else jobs.get(connection, job.proved_by)


def _changed(detail: JobDetail) -> tuple[ChangeView, ...]:
    """Return a row for each input that is not what it was; a file's hash tells people nothing."""
    if detail.changes is None:
        return ()
    rows = [ChangeView(item.name, _how(item)) for item in detail.changes.files]
    for item in detail.changes.environment:
        versions = f"{item.before} → {item.after}" if item.before and item.after else item.before or item.after
        rows.append(ChangeView(f"test node: {item.name}", f"{_how(item)}: {versions}"))
    return tuple(rows)


def _how(change: InputChange) -> str:
    return "added" if change.before is None else "removed" if change.after is None else "changed"


def _took(job: JobSummary, now: float) -> float | None:
    return None if job.started is None else (job.ended or now) - job.started


def _attempt(item: AttemptDetail, now: float) -> AttemptView:
    return AttemptView(
        item.number, look(item.outcome), item.node, item.started, (item.ended or now) - item.started, item.reason
    )


def _manifest(connection: sa.Connection, attempt: AttemptDetail | None) -> ManifestView | None:
    stored = manifests.get(connection, attempt.manifest) if attempt and attempt.manifest else None
    if stored is None:
        return None
    manifest = stored.signed.manifest
    offer = (
        "accepted it" if stored.offered else f"has not accepted it yet: {stored.problem}" if stored.problem else NONE
    )
    return ManifestView(
        sha256=stored.sha256,
        name=manifest.name,
        closure=manifest.closure.sha256,
        closure_size=manifest.closure.size,
        types=tuple(manifest.software_types),
        licences=manifest.licences,
        keys=tuple(signature.key for signature in stored.signed.signatures),
        offer=offer,
    )


def _history(connection: sa.Connection, project: int, detail: JobDetail) -> dict[str, Any]:
    """Return since when the release has this colour, its last green job of a red one, and its jobs around this one."""
    verdict, key, position = detail.job.verdict, _key(detail.job), detail.revision.position
    since: Revision | None = None
    if verdict is not None and verdict.since and verdict.since != detail.job.revision:
        since = revisions.get(connection, project, verdict.since)
    is_red = verdict is not None and verdict.colour is Colour.RED
    around = history.around(connection, project, key, position, _AROUND)
    return {
        "since": since,
        "since_words": verdict.colour.value.capitalize() if verdict is not None else "",
        "last_green": history.last_green(connection, project, key, position) if is_red else None,
        "around": tuple(NeighbourView(job, job_look(job), job.id == detail.job.id) for job in around),
    }


def _key(job: JobSummary) -> Key:
    return job.release, job.kind, job.platform
