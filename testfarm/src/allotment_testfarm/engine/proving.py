# SPDX-License-Identifier: Apache-2.0
"""Not running what is known: a waiting job whose inputs another one has proved ends at once, with its own verdict."""

from collections.abc import Sequence

import sqlalchemy

from allotment_testfarm.db import events, jobs, manifests, proofs
from allotment_testfarm.db.proofs import Proof
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.verdicts import Colour, Rule


def prove_waiting(
    connection: sqlalchemy.Connection,
    rules: Sequence[Rule],
    now: float,
    *,
    of: tuple[int, ...] | None = None,
    by: int | None = None,
) -> tuple[int, ...]:
    """End and judge the waiting jobs that are proved; return them. ``of`` and ``by`` say where to look.

    Called when there are new jobs, when one has ended, and when a test node comes with an environment of its own.
    """
    ended = []
    for proof in proofs.find(connection, now, of=of, by=by):
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
