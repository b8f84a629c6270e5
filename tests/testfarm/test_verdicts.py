# SPDX-License-Identifier: Apache-2.0
"""Built-in verdict rules, and how rules are asked."""

import threading
from typing import Any

import pytest

from allotment.messages.job import Attempt, CaseOutcome, JobState, Outcome, TestCase
from allotment.plugins import plugins
from allotment_testfarm.db import jobs, leases
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.verdicts import Colour, Verdict, judge, rules

GREEN = Verdict("passed", Colour.GREEN, since="old")
RED = Verdict("new-failure", Colour.RED, since="old")


def attempt(outcome: Outcome, *cases: TestCase, reason: str = "") -> Attempt:
    return Attempt(1, 1, "n1", 0.0, 1.0, outcome, reason, cases=cases)


@pytest.mark.parametrize(
    ("outcome", "earlier", "name", "since"),
    [
        (Outcome.PASSED, None, "passed", "new"),
        (Outcome.PASSED, GREEN, "passed", "old"),
        (Outcome.PASSED, RED, "fixed", "new"),
        (Outcome.FAILED, None, "new-failure", "new"),
        (Outcome.FAILED, GREEN, "new-failure", "new"),
        (Outcome.FAILED, RED, "still-failing", "old"),
        (Outcome.TIMED_OUT, GREEN, "timed-out", "new"),
        (Outcome.LOST, GREEN, "inconclusive", "new"),
        (Outcome.INFRASTRUCTURE, RED, "inconclusive", "new"),
        (Outcome.CANCELLED, None, "inconclusive", "new"),
    ],
)
def test_an_outcome_is_judged_against_what_was_known(
    outcome: Outcome, earlier: Verdict | None, name: str, since: str
) -> None:
    verdict = judge(attempt(outcome), earlier, "new", rules(plugins()))
    assert (verdict.name, verdict.since) == (name, since)


def test_a_verdict_counts_the_test_cases() -> None:
    good = TestCase("s", "good", CaseOutcome.PASSED)
    bad = TestCase("s", "bad", CaseOutcome.ERROR)
    skipped = TestCase("s", "left out", CaseOutcome.SKIPPED)
    built_in = rules(plugins())
    assert judge(attempt(Outcome.PASSED, good, skipped), None, "r", built_in).detail == "1 test case passed"
    assert judge(attempt(Outcome.PASSED, good, good), None, "r", built_in).detail == "2 test cases passed"
    assert judge(attempt(Outcome.PASSED), None, "r", built_in).detail == ""
    failed = judge(attempt(Outcome.FAILED, good, bad), None, "r", built_in)
    assert failed.detail == "1 of 2 test cases failed, the first bad"
    assert judge(attempt(Outcome.FAILED, reason="it does not build"), None, "r", built_in).detail == "it does not build"


def test_a_rule_that_raises_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
        raise ZeroDivisionError("bug")

    def silent(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
        return None

    assert judge(attempt(Outcome.PASSED), None, "r", [broken, silent]).colour is Colour.GREY
    assert "verdict rule" in caplog.text


@pytest.mark.parametrize("answer", ["red", Verdict("slow", "red")])  # type: ignore[arg-type]  # as a plugin may
def test_an_answer_that_is_no_verdict_is_left_out(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    def slow(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
        return answer

    earlier = Verdict("failed", Colour.RED, since="q")
    assert judge(attempt(Outcome.PASSED), earlier, "r", [slow, *rules(plugins())]).name == "fixed"
    assert f"{answer!r} is no Verdict with a Colour" in caplog.text


def finish(filled: Any, outcome: Outcome) -> int:
    lease = filled.claim()
    filled.run(leases.finish, lease.id, lease.fencing, outcome, "", filled.now, filled.terms, digest="d")
    return int(lease.job.id)


def judged(filled: Any, job: int) -> str:
    filled.run(judge_jobs, [job], rules(plugins()), filled.now)
    return str(filled.run(jobs.get, job).verdict.name)


def test_verdicts_follow_a_release_through_its_revisions(filled: Any) -> None:
    names = []
    for outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.FAILED, Outcome.CANCELLED, Outcome.FAILED, Outcome.PASSED):
        filled.revision("a")
        names.append(judged(filled, finish(filled, outcome)))
    assert names == ["passed", "new-failure", "still-failing", "inconclusive", "still-failing", "fixed"]
    last_red = filled.run(jobs.page)[1].verdict
    assert last_red.since == f"{2:040x}"


def test_a_late_verdict_corrects_the_newer_ones_that_depend_on_it(filled: Any) -> None:
    filled.revision("a")
    first = filled.claim()
    filled.revision("a")
    filled.revision("a")
    second, third = finish(filled, Outcome.FAILED), finish(filled, Outcome.FAILED)
    assert (judged(filled, second), judged(filled, third)) == ("new-failure", "still-failing")
    filled.run(leases.finish, first.id, 1, Outcome.FAILED, "", filled.now, filled.terms, digest="d")
    assert judged(filled, first.job.id) == "new-failure"
    assert filled.run(jobs.get, second).verdict.name == "still-failing"
    assert filled.run(jobs.get, third).verdict.since == f"{1:040x}"


def test_a_late_verdict_is_seen_through_an_inconclusive_one(filled: Any) -> None:
    filled.revision("a")
    first = filled.claim()
    filled.revision("a")
    second = finish(filled, Outcome.CANCELLED)
    filled.revision("a")
    third = finish(filled, Outcome.PASSED)
    assert (judged(filled, second), judged(filled, third)) == ("inconclusive", "passed")
    filled.run(leases.finish, first.id, 1, Outcome.FAILED, "", filled.now, filled.terms, digest="d")
    assert judged(filled, first.job.id) == "new-failure"
    assert filled.run(jobs.get, third).verdict.name == "fixed"


def test_verdicts_that_are_given_at_once_know_of_each_other(filled: Any) -> None:
    filled.revision("a")
    first = filled.claim()
    filled.revision("a")
    second = finish(filled, Outcome.PASSED)
    other = threading.Thread(target=judged, args=(filled, second))
    with filled.database.write() as connection:
        leases.finish(connection, first.id, 1, Outcome.FAILED, "", filled.now, filled.terms, digest="d")
        judge_jobs(connection, [first.job.id], rules(plugins()), filled.now)
        other.start()
        other.join(0.5)  # as long as it takes when it need not wait; it would not see the first one's verdict
    other.join(60)
    assert filled.run(jobs.get, second).verdict.name == "fixed"


def test_a_job_that_was_cancelled_before_it_started_is_judged(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    filled.run(jobs.cancel, job, filled.now)
    assert judged(filled, job) == "inconclusive"
    found = filled.run(jobs.get, job)
    assert (found.state, found.verdict.detail) == (JobState.DONE, "cancelled before it started")
