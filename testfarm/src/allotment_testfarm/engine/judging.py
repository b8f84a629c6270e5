# SPDX-License-Identifier: Apache-2.0
"""Giving verdicts: to a job that is done, and again to newer ones that were judged without knowing of it."""

from collections.abc import Iterable, Sequence

import sqlalchemy

from allotment_testfarm.db import verdicts as stored
from allotment_testfarm.db.jobs import take_turn
from allotment_testfarm.verdicts import Colour, Rule, Verdict, judge


def judge_jobs(connection: sqlalchemy.Connection, jobs: Iterable[int], rules: Sequence[Rule], now: float) -> None:
    """Judge jobs that are done, each with the newer ones whose verdict depends on it."""
    for job in jobs:
        take_turn(connection, job)
        next_job: int | None = job
        while next_job is not None and _judge(connection, next_job, rules, now):
            next_job = stored.following(connection, next_job)


def _judge(connection: sqlalchemy.Connection, job: int, rules: Sequence[Rule], now: float) -> bool:
    """Judge one job; False when newer jobs see what they saw before. Through a grey one they see what is older."""
    case = stored.case(connection, job)
    verdict: Verdict = judge(case.attempt, case.earlier, case.revision, rules)
    if verdict == case.current:
        return verdict.colour is Colour.GREY
    stored.store(connection, job, verdict, now)
    return True
