# SPDX-License-Identifier: Apache-2.0
"""Why a job waits, as the database tells it; and jobs that are made to wait again."""

from typing import Any

import pytest

from allotment.messages.job import JobState, Outcome
from allotment.plugins import plugins
from allotment_recipes.reach import Group
from allotment_testfarm.db import attempts, jobs, leases, nodes, waiting
from allotment_testfarm.db.waiting import Refusal, Why
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.proving import prove_waiting
from allotment_testfarm.verdicts import rules

RULES = rules(plugins())
PYTHON = {"python": "3.11.2"}
FILES = {"software/a": Group({"software/a/software.cfg": "100644 1"})}


def why(filled: Any, job: int) -> Why:
    found: Why = filled.run(waiting.why, job, filled.now)
    return found


def hello(filled: Any, name: str = "n1", platform: str = "linux-x86_64", slots: int = 1) -> None:
    filled.run(nodes.hello, name, platform, slots, "0.1", filled.now, PYTHON)


def end(filled: Any, lease: Any, outcome: Outcome) -> None:
    arguments = (lease.id, lease.fencing, outcome, "why", filled.now, filled.terms)
    filled.run(leases.finish, *arguments, digest=f"{lease.id}")
    if outcome in (Outcome.PASSED, Outcome.FAILED):
        filled.run(judge_jobs, [lease.job.id], RULES, filled.now)


def test_no_test_node_is_there(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    assert why(filled, job) == Why("No test node is connected.")
    hello(filled)
    filled.now += nodes.SILENCE
    assert why(filled, job).text == "No test node is connected."


def test_no_test_node_has_the_platform(filled: Any) -> None:
    (job,) = filled.revision("a", platform="linux-aarch64").jobs
    hello(filled)
    assert why(filled, job).text == "No connected test node has the platform linux-aarch64, only linux-x86_64."


def test_test_nodes_refuse(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    hello(filled)
    filled.run(nodes.seen, "n1", filled.now, refuses="the disk has 20 MB left")
    found = why(filled, job)
    assert found.text == "No test node takes jobs now. n1: the disk has 20 MB left."
    assert found.refusals == (Refusal("n1", "the disk has 20 MB left"),)
    filled.run(nodes.seen, "n1", filled.now)
    assert why(filled, job).text == "A test node is free: it should start at once. It is the next."


def test_all_test_nodes_are_busy_and_others_go_first(filled: Any) -> None:
    _, second, third = filled.revision("a", "b", "c").jobs
    filled.claim()
    assert why(filled, second) == Why("The one test node that fits is busy. It is the next.", fitting=1, busy=1)
    found = why(filled, third)
    assert (found.text, found.before) == ("The one test node that fits is busy. 1 job goes before it.", 1)


def test_those_that_go_before_are_of_a_higher_priority_or_older_and_fit_the_same_test_nodes(filled: Any) -> None:
    filled.revision("a", "b")
    (job,) = filled.revision("c").jobs
    filled.revision("d", priority=5)
    filled.revision("e", priority=-5)
    filled.revision("f", priority=5, platform="linux-aarch64")
    (other,) = filled.revision("g", platform="linux-aarch64").jobs
    (some,) = filled.revision("h", platform="linux-x86_64").jobs
    assert [why(filled, number).before for number in (job, other, some)] == [4, 5, 4]


def test_a_job_is_not_tried_again_at_once(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    end(filled, filled.claim(), Outcome.INFRASTRUCTURE)
    found = why(filled, job)
    assert found.text == "It is tried again in 2 s, after attempt 1: why."
    assert (found.ready, found.after) == (filled.now + filled.terms.backoff, "why")
    filled.now += filled.terms.backoff
    assert why(filled, job).text == "n1 could not do its part, and is passed over for 13 s more."


def test_a_job_is_held_behind_one_of_the_same_inputs(filled: Any) -> None:
    first = filled.revision("a", files=FILES).jobs[0]
    second = filled.revision("a", files=FILES).jobs[0]
    hello(filled, slots=2)
    assert why(filled, second).held_by is None
    assert filled.take().job.id == first
    found = why(filled, second)
    assert found.held_by == first
    assert found.text == (
        f"Job {first} runs with the same inputs: this one ends with it, or runs if that one shows nothing."
    )
    filled.run(nodes.hello, "n2", "linux-x86_64", 1, "0.1", filled.now, {"python": "3.13.5"})
    assert why(filled, second).held_by is None  # that one may run it


def test_of_a_job_that_does_not_wait_there_is_nothing_to_say(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    filled.claim()
    assert why(filled, job).text == why(filled, 4711).text == "It does not wait."


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PASSED, Outcome.TIMED_OUT])
def test_a_retried_job_runs_again_and_its_attempts_go_on(filled: Any, outcome: Outcome) -> None:
    (job,) = filled.revision("a").jobs
    assert filled.run(jobs.retry, job, filled.now) is False  # it waits already
    end(filled, filled.claim(), outcome)
    filled.run(judge_jobs, [job], RULES, filled.now)
    assert filled.run(jobs.retry, job, filled.now) is True
    found = filled.run(jobs.get, job)
    assert (found.state, found.outcome, found.verdict, found.ended) == (JobState.WAITING, None, None, None)
    lease = filled.claim()
    assert (lease.job.id, lease.attempt) == (job, 2)
    assert filled.run(jobs.retry, job, filled.now) is False  # it runs
    end(filled, lease, Outcome.PASSED)
    assert filled.run(jobs.get, job).verdict.name == "passed"
    assert [attempt.outcome for attempt in filled.run(attempts.of_job, job)] == [outcome, Outcome.PASSED]


def test_a_retried_job_has_as_many_tries_as_a_new_one(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    for _ in range(2):
        for _ in range(filled.terms.attempts):
            assert filled.run(jobs.get, job).state is JobState.WAITING
            end(filled, filled.claim(), Outcome.LOST)
            filled.now += 600
        assert filled.run(jobs.get, job).outcome is Outcome.LOST
        filled.run(jobs.retry, job, filled.now)


def test_a_cancelled_job_can_be_retried(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    filled.run(jobs.cancel, job, filled.now)
    assert filled.run(jobs.retry, job, filled.now)
    end(filled, filled.claim(), Outcome.PASSED)
    assert filled.run(jobs.get, job).outcome is Outcome.PASSED


def test_a_proved_job_that_is_retried_is_run(filled: Any) -> None:
    filled.revision("a", files=FILES)
    hello(filled)
    end(filled, filled.take(), Outcome.FAILED)
    (second,) = filled.revision("a", files=FILES).jobs
    assert filled.run(prove_waiting, RULES, filled.now) == (second,)
    assert filled.run(jobs.retry, second, filled.now)
    assert filled.run(prove_waiting, RULES, filled.now) == ()
    assert filled.run(jobs.get, second).proved_by is None


def test_newer_verdicts_are_judged_again_after_a_retry(filled: Any) -> None:
    (old,) = filled.revision("a").jobs
    end(filled, filled.claim(), Outcome.PASSED)
    (new,) = filled.revision("a").jobs
    end(filled, filled.claim(), Outcome.FAILED)
    assert filled.run(jobs.get, new).verdict.name == "new-failure"
    filled.run(jobs.retry, old, filled.now)
    end(filled, filled.claim(), Outcome.FAILED)
    assert filled.run(jobs.get, new).verdict.name == "still-failing"
