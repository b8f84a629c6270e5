# SPDX-License-Identifier: Apache-2.0
"""Not running what is known: a waiting job whose inputs another one has proved ends at once, with its own verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy

from allotment_testfarm.db import events, jobs, manifests, proofs
from allotment_testfarm.db.proofs import Proof
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.verdicts import Colour, Rule

BATCH: Final = 50  # jobs that are ended in one transaction: on SQLite heartbeats and leases wait for its end


@dataclass(frozen=True)
class Proved:
    """The jobs that were ended, and what is left to do."""

    jobs: tuple[int, ...]
    left: tuple[Proof, ...]


def prove_waiting(
    connection: sqlalchemy.Connection, rules: Sequence[Rule], now: float, *, by: int | None = None
) -> tuple[int, ...]:
    """End and judge the waiting jobs that are proved, only ``by`` that one where it is given; return them.

    Called when a job has ended.
    """
    return _prove(connection, proofs.find(connection, now, by=by), rules, now)


def prove_first(
    connection: sqlalchemy.Connection, rules: Sequence[Rule], now: float, *, of: tuple[int, ...] | None = None
) -> Proved:
    """As :func:`prove_waiting`, but no more than :data:`BATCH` in this transaction; ``of`` says among which jobs.

    Called when there are new jobs, and when a test node comes with an environment of its own: each may prove thousands.
    """
    found = proofs.find(connection, now, of=of)
    return Proved(_prove(connection, found[:BATCH], rules, now), found[BATCH:])


async def prove_rest(workers: Workers, rules: Sequence[Rule], now: float, proved: Proved) -> tuple[int, ...]:
    """Go on with what :func:`prove_first` has left, with a turn for others between two batches; return all that ended.

    What does not wait any more, because a test node has taken it meanwhile, is run.
    """
    ended = proved.jobs
    for first in range(0, len(proved.left), BATCH):
        ended += await workers.write(_prove, proved.left[first : first + BATCH], rules, now)
    return ended


def _prove(
    connection: sqlalchemy.Connection, found: Sequence[Proof], rules: Sequence[Rule], now: float
) -> tuple[int, ...]:
    ended = []
    for proof in found:
        jobs.take_turn(connection, proof.job)
        if proofs.apply(connection, proof, now):
            judge_jobs(connection, (proof.job,), rules, now)
            _offer_again(connection, proof, now)
            ended.append(proof.job)
    return tuple(ended)


def _offer_again(connection: sqlalchemy.Connection, proof: Proof, now: float) -> None:
    """Have the master get the manifest once more that the proving job made: after a revert its newest is another."""
    job = jobs.get(connection, proof.job)
    made = manifests.made_by(connection, proof.by)
    if made is None or job is None or job.verdict is None or job.verdict.colour is not Colour.GREEN:
        return
    if jobs.newer_green(connection, job.id) is None and manifests.add(connection, made.signed, made.attempt, now):
        data = {"job": job.id, "release": made.name, "by": proof.by}
        events.record(connection, now, "manifest.signed", f"manifest/{made.sha256}", data)
