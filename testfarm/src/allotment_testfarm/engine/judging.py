# SPDX-License-Identifier: Apache-2.0
"""Giving verdicts: to a job that is done, and again to newer ones that were judged without knowing of it."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy

from allotment.messages.job import TestCase
from allotment_testfarm.db import verdicts as stored
from allotment_testfarm.db.jobs import take_turn
from allotment_testfarm.verdicts import Colour, Rule, Verdict, judge


def judge_jobs(
    connection: sqlalchemy.Connection,
    jobs: Iterable[int],
    rules: Sequence[Rule],
    now: float,
    cases: Mapping[int, tuple[TestCase, ...]] | None = None,
) -> None:
    """Judge jobs that are done, each with the newer ones whose verdict depends on it.

    ``cases`` are those of the jobs' last attempts, by job, as far as they are in hand: there may be thousands to read.
    """
    for job in jobs:
        take_turn(connection, job)
        next_job: int | None = job
        while next_job is not None:
            next_job = _judge(connection, next_job, rules, now, (cases or {}).get(next_job))


def _judge(
    connection: sqlalchemy.Connection,
    job: int,
    rules: Sequence[Rule],
    now: float,
    cases: tuple[TestCase, ...] | None,
) -> int | None:
    """Judge one job; return the newer one that sees something else now. Through a grey one it sees what is older."""
    case = stored.case(connection, job, cases)
    verdict: Verdict = judge(case.attempt, case.earlier, case.revision, rules)
    if verdict != case.current:
        stored.store(connection, job, verdict, now)
    elif verdict.colour is not Colour.GREY:
        return None
    return case.following
