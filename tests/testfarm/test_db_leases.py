# SPDX-License-Identifier: Apache-2.0
"""Claims, renewals, expiry and results, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from allotment.messages.job import CaseOutcome, JobState, Lease, Outcome, Step, TestCase
from allotment_recipes.reach import Group
from allotment_testfarm.db import attempts, claims, events, jobs, leases, nodes, waiting
from allotment_testfarm.db.claims import Held
from allotment_testfarm.db.leases import LeaseTerms, StaleLeaseError


def end(filled: Any, lease: Lease, outcome: Outcome, digest: str = "d", **more: Any) -> Any:
    return filled.run(
        leases.finish, lease.id, lease.fencing, outcome, "why", filled.now, filled.terms, digest=digest, **more
    )


def test_the_oldest_waiting_job_is_leased_first_and_only_once(filled: Any) -> None:
    filled.revision("a", "b")
    first, second, third = filled.claim(), filled.claim("n2"), filled.claim("n3")
    assert (first.job.release, second.job.release, third) == ("a", "b", None)
    assert first.job.revision == f"{1:040x}"
    assert first.fencing == 1


def test_no_job_goes_to_two_test_nodes_that_ask_at_once(filled: Any) -> None:
    filled.revision(*(f"r{number}" for number in range(40)))
    for number in range(8):
        filled.claim(f"n{number}", kinds=())
    barrier = threading.Barrier(8)

    def work(node: str) -> list[int]:
        barrier.wait()
        found = []
        while True:
            lease = filled.take(node)
            if lease is None:
                return found
            found.append(lease.job.id)

    with ThreadPoolExecutor(8) as pool:
        taken = [job for found in pool.map(work, [f"n{number}" for number in range(8)]) for job in found]
    assert len(taken) == 40
    assert len(set(taken)) == 40


def test_a_job_of_another_platform_or_kind_is_passed_over(filled: Any) -> None:
    filled.revision("arm", platform="linux-aarch64")
    filled.revision("special", kind="bench")
    assert filled.claim() is None
    assert filled.claim(kinds=("bench",)).job.release == "special"


def test_a_renewed_lease_does_not_expire(filled: Any) -> None:
    filled.revision("a")
    lease = filled.claim()
    filled.now += 20
    filled.run(leases.renew, lease.id, lease.fencing, filled.now, 30.0)
    filled.now += 20
    assert filled.run(leases.expire, filled.now, filled.terms) == ()


def test_an_expired_lease_is_lost_and_its_job_waits_again(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    lease = filled.claim()
    filled.now += 30
    (ended,) = filled.run(leases.expire, filled.now, filled.terms)
    assert (ended.outcome, ended.is_done) == (Outcome.LOST, False)
    assert filled.run(jobs.get, job).state is JobState.WAITING
    assert filled.claim("n2") is None
    filled.now += filled.terms.backoff
    again = filled.claim("n2")
    assert (again.job.id, again.attempt, again.fencing) == (job, 2, lease.fencing + 1)


def test_a_job_that_is_always_lost_is_tried_less_and_less_often_and_then_no_more(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    delays = []
    for _ in range(filled.terms.attempts):
        began = filled.now
        while filled.claim() is None:
            filled.now += 1
        delays.append(filled.now - began)
        filled.now += 100
        filled.run(leases.expire, filled.now, filled.terms)
    filled.now += 1000
    assert filled.claim() is None
    found = filled.run(jobs.get, job)
    assert (found.state, found.outcome, found.attempts) == (JobState.DONE, Outcome.LOST, 4)
    assert delays == [0, 2, 6, 18]


def test_the_engine_ends_a_job_that_never_ends_although_its_lease_is_renewed(filled: Any) -> None:
    (job,) = filled.revision("a", timeout=50.0).jobs
    lease = filled.claim()
    for _ in range(11):
        filled.now += 10
        filled.run(leases.renew, lease.id, lease.fencing, filled.now, 30.0)
    (ended,) = filled.run(leases.expire, filled.now, filled.terms)
    assert (ended.outcome, ended.is_done) == (Outcome.TIMED_OUT, True)
    assert filled.run(attempts.detail, job).attempts[0].reason == "did not end in 110 s"
    with pytest.raises(StaleLeaseError):
        filled.run(leases.renew, lease.id, lease.fencing, filled.now, 30.0)


def test_a_stale_fencing_changes_nothing(filled: Any) -> None:
    filled.revision("a")
    old = filled.claim()
    filled.now += 30
    filled.run(leases.expire, filled.now, filled.terms)
    filled.now += filled.terms.backoff
    new = filled.claim("n2")
    for lease, fencing in ((old.id, old.fencing), (new.id, old.fencing), (4711, 1)):
        with pytest.raises(StaleLeaseError) as caught:
            filled.run(leases.renew, lease, fencing, filled.now, 30.0)
        assert caught.value.status == 409
    with pytest.raises(StaleLeaseError):
        end(filled, old, Outcome.PASSED)
    assert end(filled, new, Outcome.PASSED).is_done
    assert str(caught.value) == "lease 4711 is not known. Stop the job and take another lease."


def test_the_same_result_again_is_accepted_and_another_one_is_not(filled: Any) -> None:
    filled.revision("a")
    lease = filled.claim()
    assert end(filled, lease, Outcome.FAILED, "one") is not None
    assert end(filled, lease, Outcome.FAILED, "one") is None
    with pytest.raises(StaleLeaseError):
        end(filled, lease, Outcome.PASSED, "two")


def test_a_result_brings_steps_and_test_cases(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    lease = filled.claim()
    steps = (Step("build", 1.0, 2.0, Outcome.PASSED), Step("test", 2.0, 4.0, Outcome.FAILED))
    cases = (TestCase("s", "one", CaseOutcome.PASSED, 0.5), TestCase("s", "two", CaseOutcome.FAILED, 1.0, "no"))
    end(filled, lease, Outcome.FAILED, steps=steps, cases=cases)
    detail = filled.run(attempts.detail, job)
    assert detail.attempts[0].steps == steps
    assert detail.attempts[0].cases == cases
    assert detail.job.outcome is Outcome.FAILED


def test_after_an_infrastructure_failure_another_test_node_goes_first(filled: Any) -> None:
    filled.revision("a")
    end(filled, filled.claim("bad"), Outcome.INFRASTRUCTURE)
    filled.now += filled.terms.backoff
    assert filled.claim("bad") is None
    other = filled.claim("other")
    filled.run(leases.give_back, other.id, filled.now)
    filled.now += filled.terms.avoid
    assert filled.claim("bad") is not None  # better than never


def test_a_lease_that_was_never_heard_of_is_no_attempt(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    lease = filled.claim()
    filled.run(leases.give_back, lease.id, filled.now)
    assert filled.run(jobs.get, job).attempts == 0
    again = filled.claim()
    assert (again.attempt, again.fencing) == (1, lease.fencing + 1)
    assert again.id != lease.id


def test_a_job_that_was_cancelled_before_its_lease_was_heard_of_is_not_leased_again(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    lease = filled.claim()
    assert filled.run(jobs.cancel, job, filled.now)
    filled.run(leases.give_back, lease.id, filled.now + 1)
    found = filled.run(jobs.get, job)
    assert (found.state, found.outcome, found.started) == (JobState.DONE, Outcome.CANCELLED, None)
    assert found.ended == filled.now + 1
    assert filled.claim() is None


def test_leases_of_an_engine_that_was_away_go_on(filled: Any) -> None:
    filled.revision("a")
    lease = filled.claim()
    filled.now += 1000
    assert filled.run(leases.extend_own, filled.now, 30.0, "other") == 0
    assert filled.run(leases.extend_own, filled.now, 30.0, "") == 1
    assert filled.run(leases.expire, filled.now, filled.terms) == ()
    filled.run(leases.renew, lease.id, lease.fencing, filled.now, 30.0)


def test_who_slept_first_ends_no_job_that_another_engine_gave(filled: Any) -> None:
    """Machines wake with all that they run: the sweep of one engine comes before the other has moved its limits."""
    filled.revision("a", timeout=60.0)
    filled.claim()
    filled.now += 7200
    assert filled.run(leases.extend_all, filled.now, 30.0, "other", 7200.0) == 1
    assert filled.run(leases.expire, filled.now + 29.0, filled.terms) == ()


def test_a_cancelled_job_is_not_tried_again(filled: Any) -> None:
    waiting, running = filled.revision("a", "b").jobs
    assert filled.run(jobs.cancel, waiting, filled.now)
    lease = filled.claim()
    assert lease.job.id == running
    assert filled.run(jobs.cancel, running, filled.now)
    assert filled.run(leases.renew, lease.id, lease.fencing, filled.now, 30.0)[2] is True
    filled.now += 100
    filled.run(leases.expire, filled.now, filled.terms)
    for job in (waiting, running):
        found = filled.run(jobs.get, job)
        assert (found.state, found.outcome) == (JobState.DONE, Outcome.CANCELLED)
        assert not filled.run(jobs.cancel, job, filled.now)
        assert [event.kind for event in filled.run(events.of_subject, f"job/{job}")].count("job.cancelled") == 1


def test_attempts_are_bounded_by_the_terms(filled: Any) -> None:
    filled.terms = LeaseTerms(attempts=1)
    filled.revision("a")
    assert end(filled, filled.claim(), Outcome.INFRASTRUCTURE).is_done


def test_the_highest_priority_is_leased_first_then_the_oldest(filled: Any) -> None:
    filled.revision("nightly", priority=-10)
    filled.revision("a")
    filled.revision("urgent", priority=5)
    filled.revision("b")
    taken = [filled.claim(f"n{number}").job.release for number in range(4)]
    assert taken == ["urgent", "a", "b", "nightly"]


def test_jobs_of_equal_inputs_run_once_in_each_environment(filled: Any) -> None:
    files = {"software/a": Group({"software/a/software.cfg": "100644 1"})}
    for name, version in (("n1", "3.11"), ("n2", "3.11"), ("n3", "3.13"), ("n4", "3.13"), ("n5", "3.13")):
        filled.run(nodes.hello, name, "linux-x86_64", 1, "0.1", filled.now, {"python": version})
    first, second = (filled.revision("a", files=files).jobs[0] for _ in range(2))
    assert filled.take("n1").job.id == first
    assert filled.take("n2") is None
    assert filled.take("n3").job.id == second  # of another environment, so no proof would come
    fresh = filled.revision("a", files=files, is_fresh=True).jobs[0]
    third = filled.revision("a", files=files).jobs[0]
    assert filled.take("n4").job.id == fresh
    assert filled.take("n5") is None
    assert filled.run(waiting.all_ids) == {third}


def test_of_two_that_ask_at_once_for_equal_jobs_one_gets_none(filled: Any) -> None:
    files = {"software/a": Group({"software/a/software.cfg": "100644 1"})}
    for number in range(4):
        filled.run(nodes.hello, f"n{number}", "linux-x86_64", 1, "0.1", filled.now, {"python": "3.11"})
        filled.revision("a", files=files)
    askers = [filled.run(nodes.seen, f"n{number}", filled.now) for number in range(4)]
    found = filled.run(waiting.load, filled.run(waiting.all_ids))
    barrier = threading.Barrier(4)

    def claim(job: Any, asker: Any) -> Any:
        barrier.wait()
        return filled.run(claims.claim, job, asker, filled.now, filled.terms)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(claim, found, askers))
    (lease,) = [answer for answer in answers if isinstance(answer, Lease)]
    assert [answer for answer in answers if answer is not lease] == [Held(lease.job.id)] * 3


def test_a_job_that_is_given_back_waits_again_at_once_and_was_not_tried(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    for number in range(1, filled.terms.attempts + 3):
        lease = filled.claim()
        assert (lease.job.id, lease.attempt) == (job, number)
        assert not end(filled, lease, Outcome.INFRASTRUCTURE, digest=str(number), is_given_back=True).is_done
    end(filled, filled.claim(), Outcome.INFRASTRUCTURE, digest="tried")  # this one counts, and is the first
    assert filled.claim("n2") is None
    filled.now += filled.terms.delay(1)
    assert filled.claim("n2") is not None


def test_a_cancelled_job_that_is_given_back_ends(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    lease = filled.claim()
    filled.run(jobs.cancel, job, filled.now)
    assert end(filled, lease, Outcome.INFRASTRUCTURE, is_given_back=True).is_done
    assert filled.run(jobs.get, job).outcome is Outcome.CANCELLED


def test_a_result_that_says_something_counts_even_if_its_test_node_stops(filled: Any) -> None:
    (job,) = filled.revision("a").jobs
    assert end(filled, filled.claim(), Outcome.FAILED, is_given_back=True).is_done
    assert filled.run(jobs.get, job).outcome is Outcome.FAILED
