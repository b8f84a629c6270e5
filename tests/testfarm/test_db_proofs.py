# SPDX-License-Identifier: Apache-2.0
"""Jobs that need not run because another one with the same inputs has, and what changed for those that must."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from allotment.messages.job import CaseOutcome, JobState, Outcome, TestCase
from allotment.messages.manifest import Blob, ReleaseManifest, SignedManifest
from allotment.plugins import plugins
from allotment_recipes.reach import Group
from allotment_testfarm.db import (
    attempts,
    events,
    inputs,
    jobs,
    leases,
    manifests,
    nodes,
    proofs,
    reproductions,
    retention,
    waiting,
)
from allotment_testfarm.db.inputs import InputChange, InputChanges
from allotment_testfarm.db.schema import attempts as attempts_table
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.proving import BATCH, prove_first, prove_rest, prove_waiting
from allotment_testfarm.retention import Rules
from allotment_testfarm.verdicts import rules

RULES = rules(plugins())
PYTHON = {"python": "3.11.2"}
FILES = {"software/a/software.cfg": "100644 1"}
GROUPS = {"software/a": Group(FILES)}


class Farm:
    """A farm whose only release is ``a``, unless another is named."""

    def __init__(self, filled: Any) -> None:
        self.filled = filled

    def commit(self, files: Mapping[str, str] | None = FILES, **details: Any) -> int:
        """Add a revision; return its job."""
        groups = None if files is None else {"software/a": Group(files)}
        (job,) = self.filled.revision("a", files=groups, **details).jobs
        return int(job)

    def node(self, name: str = "n1", environment: Mapping[str, str] = PYTHON) -> None:
        self.filled.run(nodes.hello, name, "linux-x86_64", 1, "0.1", self.filled.now, environment)

    def run(self, outcome: Outcome = Outcome.PASSED, node: str = "n1", **result: Any) -> int:
        """Have a test node run the oldest job that waits."""
        f = self.filled
        lease = f.take(node)
        f.run(leases.finish, lease.id, lease.fencing, outcome, "why", f.now, f.terms, digest="d", **result)
        if outcome in (Outcome.PASSED, Outcome.FAILED):
            f.run(judge_jobs, [lease.job.id], RULES, f.now)
        f.now += 1
        return int(lease.job.id)

    def prove(self, of: tuple[int, ...] | None = None, by: int | None = None) -> tuple[int, ...]:
        if of is not None:
            return self.filled.run(prove_first, RULES, self.filled.now, of=of).jobs
        return self.filled.run(prove_waiting, RULES, self.filled.now, by=by)

    def job(self, job: int) -> Any:
        return self.filled.run(jobs.get, job)

    def changes(self, job: int) -> Any:
        return self.filled.run(inputs.changes, job)


@pytest.fixture
def farm(filled: Any) -> Farm:
    farm = Farm(filled)
    farm.node()
    return farm


def test_a_job_with_the_same_inputs_ends_at_once_as_the_first_did(farm: Farm) -> None:
    first = farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.commit()
    assert farm.prove(of=(second,)) == (second,)
    found = farm.job(second)
    assert (found.state, found.outcome, found.proved_by) == (JobState.DONE, Outcome.FAILED, first)
    assert (found.attempts, found.started, found.ended) == (0, None, farm.filled.now)
    assert found.input_hash == farm.job(first).input_hash is not None
    assert (found.verdict.name, found.verdict.detail) == ("still-failing", "why")
    kinds = [event.kind for event in farm.filled.run(events.of_subject, f"job/{second}")]
    assert kinds == ["job.created", "job.proved", "job.judged"]
    third = farm.commit()
    assert farm.prove() == (third,)
    assert farm.job(third).proved_by == first  # the one that ran


def test_a_job_that_was_not_run_is_reproduced_by_the_attempt_that_proved_it(farm: Farm) -> None:
    farm.commit()
    cases = (TestCase("suite", "test_one", CaseOutcome.FAILED),)
    farm.run(Outcome.FAILED, cases=cases)
    second = farm.commit()
    assert farm.filled.run(reproductions.get, second).outcome is None
    farm.prove()
    found = farm.filled.run(reproductions.get, second)
    assert (found.job.id, found.job.revision) == (second, farm.job(second).revision)
    assert (found.node, found.outcome, found.reason, found.cases) == ("n1", Outcome.FAILED, "why", cases)
    assert found.environment == {"platform": "linux-x86_64", **PYTHON}
    assert farm.filled.run(reproductions.get, 999) is None


def test_a_proved_job_is_reproduced_as_it_ended_when_the_other_runs_again(farm: Farm) -> None:
    first = farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.commit()
    farm.prove()
    now = farm.filled.now
    again = {"job_id": first, "number": 2, "node": "n1", "fencing": 2, "steps": [], "log": "logs/1/2.log"}
    again |= {"started": now, "expires": now + 20, "deadline": now + 60}
    farm.filled.run(sa.Connection.execute, sa.insert(attempts_table).values(again))
    assert farm.filled.run(reproductions.get, second).outcome is Outcome.FAILED


def test_a_retry_has_the_jobs_wait_again_that_were_proved(farm: Farm) -> None:
    first = farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.commit()
    farm.prove()
    f = farm.filled
    before = f.run(events.newest)
    assert f.run(jobs.retry, first, f.now)
    found = farm.job(second)
    assert (found.state, found.outcome, found.verdict, found.proved_by) == (JobState.WAITING, None, None, None)
    assert {job.id for job in f.run(waiting.news, before).waiting} == {first, second}
    assert farm.run(Outcome.PASSED) == first
    assert farm.prove(by=first) == (second,)
    assert (farm.job(second).verdict.name, farm.job(second).attempts) == ("passed", 0)


def test_a_retry_waits_for_who_proves_jobs_of_the_project(farm: Farm) -> None:
    """Each locks jobs that the other needs."""
    first = farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.commit()
    f = farm.filled
    retry = threading.Thread(target=f.run, args=(jobs.retry, first, f.now))
    with f.database.write() as connection:
        jobs.take_turn(connection, second)
        retry.start()
        retry.join(0.5)
        assert retry.is_alive()
        assert prove_waiting(connection, RULES, f.now) == (second,)
    retry.join(60)
    assert [farm.job(job).state for job in (first, second)] == [JobState.WAITING] * 2


def test_a_proof_that_is_retried_at_that_moment_does_not_count(farm: Farm) -> None:
    first = farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.commit()
    f = farm.filled
    (proof,) = f.run(proofs.find, f.now)
    f.run(jobs.retry, first, f.now)
    assert not f.run(proofs.apply, proof, f.now)
    assert farm.job(second).state is JobState.WAITING


def test_a_job_that_waits_is_proved_by_one_that_ends_later(farm: Farm) -> None:
    farm.commit()
    second = farm.commit()
    assert farm.prove() == ()
    first = farm.run()
    assert farm.prove(by=first) == (second,)
    assert farm.job(second).verdict.name == "passed"


@pytest.mark.parametrize(
    "change",
    [
        {"files": {**FILES, "software/a/software.cfg": "100644 2"}},
        {"files": {**FILES, "software/a/new": "100644 1"}},
        {"files": None},
        {"options": {"x": 1}},
        {"kind": "other"},
        {"platform": "linux-x86_64"},
    ],
)
def test_other_inputs_are_run(farm: Farm, change: dict[str, Any]) -> None:
    farm.commit()
    farm.run()
    farm.commit(**change)
    assert farm.prove() == ()


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.INFRASTRUCTURE, Outcome.CANCELLED, Outcome.TIMED_OUT])
def test_what_says_nothing_of_the_software_proves_nothing(farm: Farm, outcome: Outcome) -> None:
    first = farm.commit()
    while farm.job(first).state is not JobState.DONE:
        farm.run(outcome)
        farm.filled.now += 60
        farm.node()
    farm.commit()
    assert farm.prove() == ()


def test_a_cancelled_job_is_not_revived(farm: Farm) -> None:
    farm.commit()
    farm.run()
    second = farm.commit()
    farm.filled.run(jobs.cancel, second, farm.filled.now)
    assert farm.prove() == ()
    assert farm.job(second).outcome is Outcome.CANCELLED


def test_another_environment_proves_nothing_until_a_test_node_has_it(farm: Farm) -> None:
    farm.commit()
    farm.run()
    farm.node(environment={"python": "3.13.5"})
    second = farm.commit()
    assert farm.prove() == ()
    farm.node("n2", PYTHON)
    assert farm.prove() == (second,)


def test_a_test_node_that_is_gone_does_not_count(farm: Farm) -> None:
    farm.commit()
    farm.run()
    farm.commit()
    farm.filled.now += nodes.SILENCE + 1
    assert farm.prove() == ()


def test_a_test_node_that_does_not_say_what_it_has_proves_nothing(farm: Farm) -> None:
    farm.node(environment={})
    first = farm.commit()
    farm.run()
    assert farm.job(first).input_hash is None
    farm.commit()
    assert farm.prove() == ()


def test_another_release_or_project_with_the_same_files_is_run(farm: Farm) -> None:
    farm.commit()
    farm.run()
    other = farm.filled.revision("b", files={"software/a": Group(FILES)})
    assert farm.prove(of=other.jobs) == ()


def test_a_job_whose_manifest_was_not_signed_is_run_again(farm: Farm) -> None:
    farm.commit()
    farm.run(manifest="f" * 64)
    farm.commit()
    assert farm.prove() == ()


def test_a_job_whose_closure_went_is_run_again_until_that_is_here(farm: Farm) -> None:
    built, newer = (ReleaseManifest("a", "software.cfg", Blob(digit * 64, 1), {}, {}) for digit in "12")
    first = farm.commit()
    farm.run(manifest=built.sha256)
    f = farm.filled
    (attempt,) = f.run(attempts.of_job, first)
    for made in (built, newer):
        f.now += 1
        f.run(manifests.add, SignedManifest(made, ()), attempt.id, f.now)
    second = farm.commit()
    (proof,) = f.run(proofs.find, f.now)
    assert f.run(retention.give_up_blob, Rules(manifests=1), built.closure.sha256)
    assert not f.run(retention.give_up_blob, Rules(manifests=1), newer.closure.sha256)
    assert not f.run(proofs.apply, proof, f.now)  # which was found just before
    assert farm.prove() == ()
    assert [item.sha256 for item in f.run(manifests.to_offer)] == [newer.sha256]
    f.now += 1
    f.run(manifests.add, SignedManifest(built, ()), attempt.id, f.now)  # another job has built it
    assert farm.prove() == (second,)
    assert [item.sha256 for item in f.run(manifests.to_offer)] == [newer.sha256, built.sha256]


def test_the_newest_of_several_proofs_counts(farm: Farm) -> None:
    farm.commit()
    farm.commit()
    farm.run(Outcome.FAILED)
    second = farm.run(Outcome.PASSED)  # both ran at the same time
    third = farm.commit()
    assert farm.prove() == (third,)
    assert (farm.job(third).proved_by, farm.job(third).outcome) == (second, Outcome.PASSED)


def test_what_changed_is_told_file_by_file_and_version_by_version(farm: Farm) -> None:
    first = farm.commit({"same": "100644 1", "changed": "100644 1", "removed": "100644 1"})
    assert farm.changes(first) is None  # there is nothing to compare with
    farm.run()
    second = farm.commit({"same": "100644 1", "changed": "100755 1", "added": "100644 1"})
    files = (
        InputChange("added", None, "100644 1"),
        InputChange("changed", "100644 1", "100755 1"),
        InputChange("removed", "100644 1", None),
    )
    commit = f"{1:040x}"
    assert farm.changes(second) == InputChanges(first, commit, files, ())
    farm.node("n2", {"python": "3.13.5"})
    farm.run(node="n2")
    python = InputChange("python", "3.11.2", "3.13.5")
    assert farm.changes(second) == InputChanges(first, commit, files, (python,))
    third = farm.commit({"same": "100644 1"})
    assert [change.name for change in farm.changes(third).files] == ["added", "changed"]
    assert farm.filled.run(attempts.detail, second).changes.environment == (python,)


def test_a_file_that_comes_another_way_has_not_changed(farm: Farm) -> None:
    files, other = Group({"x/y": "100644 1"}), Group({"x/y": "100644 1", "x/z": "100644 1"})
    farm.filled.revision("a", files={"": files})
    farm.run()
    (job,) = farm.filled.revision("a", files={"x": other}).jobs
    assert farm.changes(job).files == (InputChange("x/z", None, "100644 1"),)


def test_a_release_that_can_t_be_told_says_why(farm: Farm) -> None:
    job = farm.commit(None, problem="stack is a symbolic link")
    assert farm.filled.run(attempts.detail, job).problem == "stack is a symbolic link"


def race(farm: Farm, waiting: list[int]) -> tuple[list[int], list[int]]:
    """Claim and prove jobs at the same time; return those that were claimed, and those that were proved."""
    start = threading.Barrier(2, timeout=60)

    def claim() -> list[int]:
        start.wait()
        found = [farm.filled.take() for _ in waiting]
        return [lease.job.id for lease in found if lease is not None]

    def prove() -> list[int]:
        start.wait()
        return [job for number in waiting for job in farm.prove(of=(number,))]

    with ThreadPoolExecutor(2) as pool:
        claimed, proved = pool.submit(claim), pool.submit(prove)
        return claimed.result(60), proved.result(60)


def test_a_job_is_either_claimed_or_proved(farm: Farm) -> None:
    farm.commit()
    farm.run()
    claimed: list[int] = []
    proved: list[int] = []
    while not (claimed and proved):  # else one side was done before the other began
        waiting = [farm.commit() for _ in range(10)]
        claimed, proved = race(farm, waiting)
        assert sorted([*claimed, *proved]) == waiting
    assert all(farm.job(job).attempts == 0 for job in proved)


def test_equal_documents_are_stored_once(filled: Any) -> None:
    first = filled.run(inputs.put, {"b": "2", "a": "1"})
    assert filled.run(inputs.put, {"a": "1", "b": "2"}) == first
    assert filled.run(inputs.get, first) == {"a": "1", "b": "2"}
    assert Release("a", "p").files is None


def test_what_a_commit_of_many_releases_need_not_run_ends_in_small_transactions(
    farm: Farm, result_of: Callable[..., Any]
) -> None:
    f = farm.filled
    names = [f"r{number}" for number in range(2 * BATCH + 5)]
    farm.node()
    f.revision(*names, files=GROUPS)
    while (lease := f.take()) is not None:
        f.run(leases.finish, lease.id, lease.fencing, Outcome.FAILED, "", f.now, f.terms, digest="d")
        f.run(judge_jobs, [lease.job.id], RULES, f.now)
    again = f.revision(*names, files=GROUPS)
    sizes = []

    class Counting:
        """Notes how many jobs each transaction ends."""

        async def write(self, call: Callable[..., Any], /, *arguments: Any) -> Any:
            ended = f.run(call, *arguments)
            sizes.append(len(ended))
            return ended

    proved = f.run(prove_first, RULES, f.now, of=again.jobs)
    taken = f.take()  # a test node was faster
    ended = result_of(prove_rest(Counting(), RULES, f.now, proved))
    assert (len(proved.jobs), sizes) == (BATCH, [BATCH - 1, 5])
    assert sorted([*ended, taken.job.id]) == list(again.jobs)
