# SPDX-License-Identifier: Apache-2.0
"""Long polls and the sweep, on a clock that is moved by hand."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from allotment.errors import RefusedError
from allotment.messages.job import JobState, Lease, Outcome
from allotment.plugins import plugins
from allotment_recipes.reach import Group
from allotment_testfarm.db import attempts, jobs, leases, nodes, schema, verdicts, waiting
from allotment_testfarm.db.leases import LeaseTerms, StaleLeaseError
from allotment_testfarm.engine.leases import SWEEP, Caller, Leases
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.verdicts import rules
from allotment_testfarm.wire import Heartbeat, LeaseRequest, NodeHello

Start = Callable[[Any], list[Any]]


@pytest.fixture
def service(workers: Any, clock: Clock, tmp_path: Path, result_of: Any) -> Any:
    found = Leases(clock, workers, LogSink(tmp_path), rules(plugins()), LeaseTerms(seconds=30.0))
    result_of(found.resume())
    found.startService()
    result_of(found.hello(NodeHello("n1", "linux-x86_64")))
    yield found
    found.stopService()


@pytest.fixture
def submit(service: Leases, filled_sqlite: Any) -> Callable[..., Any]:
    """Add a revision as the poll of the same engine does."""

    def revision(*releases: str, **details: Any) -> Any:
        made = filled_sqlite.revision(*releases, **details)
        service.notice(made.jobs)
        return made

    return revision


@pytest.fixture
def start() -> Start:
    """Start a coroutine and return the list that its result will be in."""

    def run(coroutine: Any) -> list[Any]:
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        return results

    return run


def end(service: Leases, filled: Any, lease: Lease, outcome: Outcome) -> None:
    """End an attempt as the results do."""
    arguments = (lease.id, lease.fencing, outcome, "", service._clock.seconds(), filled.terms)
    service.ended(filled.run(leases.finish, *arguments, digest=f"{lease.id}"))


def deadline_of(filled: Any, lease: Lease) -> float:
    query = sa.select(schema.attempts.c.deadline).where(schema.attempts.c.id == lease.id)
    return filled.run(lambda connection: connection.execute(query).scalar_one())


def test_a_waiting_job_is_leased_at_once(service: Leases, submit: Any, result_of: Any, clock: Clock) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    assert (lease.job.release, lease.node, lease.seconds) == ("a", "n1", 30.0)
    assert lease.expires == clock.seconds() + 30.0


def test_who_waits_gets_the_job_as_soon_as_it_is_there(service: Leases, submit: Any, start: Start) -> None:
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    assert answer == []
    submit("a")
    assert answer[0].job.release == "a"


def test_of_two_who_wait_one_gets_the_job_and_the_other_waits_on(
    service: Leases, submit: Any, start: Start, clock: Clock
) -> None:
    answers = [start(service.take(LeaseRequest("n1", wait=20.0), Caller())) for _ in range(2)]
    submit("a")
    clock.advance(19.0)
    assert sorted(len(answer) for answer in answers) == [0, 1]
    clock.advance(2.0)
    assert {type(answer[0]) for answer in answers} == {Lease, type(None)}


def test_a_job_of_another_process_is_found_by_the_sweep(
    service: Leases, filled_sqlite: Any, start: Start, clock: Clock
) -> None:
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    filled_sqlite.revision("a")
    clock.advance(1.0)
    assert isinstance(answer[0], Lease)


def test_a_job_of_another_process_is_found_at_once_after_a_hint(
    service: Leases, filled_sqlite: Any, start: Start
) -> None:
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    filled_sqlite.revision("a")
    service.hint()
    assert isinstance(answer[0], Lease)


def test_nothing_to_do_is_said_after_the_wait(service: Leases, start: Start, clock: Clock) -> None:
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    clock.advance(19.9)
    assert answer == []
    clock.advance(0.2)
    assert answer == [None]


def test_a_wait_is_bounded_whatever_is_asked(service: Leases, start: Start, clock: Clock) -> None:
    answer = start(service.take(LeaseRequest("n1", wait=1e9), Caller()))
    clock.advance(61.0)
    assert answer == [None]


def test_a_caller_who_hangs_up_gets_no_job(service: Leases, submit: Any, filled_sqlite: Any, start: Start) -> None:
    caller = Caller()
    answer = start(service.take(LeaseRequest("n1"), caller))
    caller.hang_up()
    assert answer == [None]
    (job,) = submit("a").jobs
    assert start(service.take(LeaseRequest("n1"), caller)) == [None]
    assert filled_sqlite.run(jobs.get, job).attempts == 0
    assert filled_sqlite.run(waiting.all_ids) == {job}


def test_a_stop_answers_who_waits(service: Leases, start: Start, clock: Clock) -> None:
    answer = start(service.take(LeaseRequest("n1"), Caller()))
    service.stopService()
    assert answer == [None]
    assert clock.getDelayedCalls() == []


def test_an_unknown_test_node_is_asked_to_say_hello(service: Leases, result_of: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        result_of(service.take(LeaseRequest("stranger"), Caller()))
    assert str(caught.value) == "test node 'stranger' is not known. Say hello first."
    assert caught.value.status == 404


def test_heartbeats_keep_a_lease_and_tell_of_a_cancelled_job(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    for _ in range(5):
        clock.advance(20.0)
        answer = result_of(service.renew(lease.id, Heartbeat(lease.fencing)))
        assert (answer.expires, answer.cancel) == (clock.seconds() + 30.0, False)
    filled_sqlite.run(jobs.cancel, lease.job.id, clock.seconds())
    assert result_of(service.renew(lease.id, Heartbeat(lease.fencing))).cancel is True


def test_silence_loses_the_lease_and_the_job_moves_on(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    result_of(service.hello(NodeHello("n2", "linux-x86_64")))
    clock.pump([1.0] * 28)
    other = start(service.take(LeaseRequest("n2"), Caller()))
    clock.pump([1.0] * 4)
    assert (other[0].job.id, other[0].attempt) == (lease.job.id, 2)
    first = filled_sqlite.run(attempts.of_job, lease.job.id)[0]
    assert (first.outcome, first.reason) == (Outcome.LOST, "test node n1 fell silent for 30 s")
    with pytest.raises(StaleLeaseError):
        result_of(service.renew(lease.id, Heartbeat(lease.fencing)))


def test_the_job_of_a_silent_test_node_is_given_to_another_within_30_seconds(
    workers: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock, tmp_path: Path
) -> None:
    usual = Leases(clock, workers, LogSink(tmp_path), rules(plugins()), LeaseTerms())
    usual.startService()
    welcome, _ = (result_of(usual.hello(NodeHello(name, "linux-x86_64"))) for name in ("n1", "n2"))
    usual.notice(filled_sqlite.revision("a").jobs)
    lease = result_of(usual.take(LeaseRequest("n1"), Caller()))
    clock.advance(welcome.heartbeat)
    result_of(usual.renew(lease.id, Heartbeat(lease.fencing)))  # the last that is heard of it
    answer = start(usual.take(LeaseRequest("n2", wait=60.0), Caller()))
    clock.pump([0.5] * 60)
    assert (answer[0].job.id, answer[0].attempt) == (lease.job.id, 2)
    usual.stopService()


def test_a_job_that_is_always_lost_gets_its_verdict(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    (job,) = submit("a").jobs
    for _ in range(filled_sqlite.terms.attempts):
        assert result_of(service.take(LeaseRequest("n1"), Caller())) is not None
        clock.pump([1.0] * 60)
    found = filled_sqlite.run(jobs.get, job)
    assert (found.outcome, found.verdict.name) == (Outcome.LOST, "inconclusive")


def test_a_job_that_never_ends_is_ended_by_the_engine(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    (job,) = submit("a", timeout=40.0).jobs
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    for _ in range(10):
        result_of(service.renew(lease.id, Heartbeat(lease.fencing)))
        clock.advance(10.0)
    found = filled_sqlite.run(jobs.get, job)
    assert (found.outcome, found.verdict.name) == (Outcome.TIMED_OUT, "timed-out")


def test_a_cancelled_waiting_job_is_judged_by_the_sweep(
    service: Leases, submit: Any, filled_sqlite: Any, clock: Clock
) -> None:
    (job,) = submit("a").jobs
    filled_sqlite.run(jobs.cancel, job, clock.seconds())
    clock.advance(1.0)
    assert filled_sqlite.run(jobs.get, job).verdict.name == "inconclusive"


def test_a_job_that_can_t_be_judged_keeps_no_other_from_its_end(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    broken, cancelled, silent = submit("a", "b", "c").jobs
    leased = [result_of(service.take(LeaseRequest("n1"), Caller())) for _ in range(3)]
    end(service, filled_sqlite, leased[0], Outcome.PASSED)
    unreadable = sa.update(schema.attempts).where(schema.attempts.c.id == leased[0].id).values(steps=[{"no": "step"}])
    filled_sqlite.run(lambda connection: connection.execute(unreadable))
    filled_sqlite.run(jobs.cancel, cancelled, clock.seconds())
    clock.pump([1.0] * 31)
    with filled_sqlite.database.read() as connection:
        assert verdicts.unjudged(connection) == (broken,)
    assert filled_sqlite.run(attempts.get, leased[2].id).outcome is Outcome.LOST
    assert filled_sqlite.run(jobs.get, silent).state is JobState.WAITING


def test_leases_go_on_after_the_engine_was_away(
    service: Leases, submit: Any, result_of: Any, workers: Any, tmp_path: Path, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    service.stopService()
    clock.advance(500.0)
    successor = Leases(clock, workers, LogSink(tmp_path), (), LeaseTerms(seconds=30.0))
    result_of(successor.resume())
    successor.startService()
    clock.advance(20.0)
    assert result_of(successor.renew(lease.id, Heartbeat(lease.fencing))).expires == clock.seconds() + 30.0
    successor.stopService()


def test_leases_go_on_after_the_machine_slept_or_its_clock_was_set(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    submit("a", timeout=600.0)
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    clock.advance(7200.0)
    assert result_of(service.renew(lease.id, Heartbeat(lease.fencing))).expires == clock.seconds() + 30.0
    clock.rightNow -= 3600.0
    result_of(service._sweep())  # its timer is of the time before
    assert filled_sqlite.run(attempts.get, lease.id).expires == clock.seconds() + 30.0


def test_a_short_lease_goes_on_after_the_engine_stood_still_for_longer(
    submit: Any, filled_sqlite: Any, result_of: Any, workers: Any, tmp_path: Path, clock: Clock
) -> None:
    submit("a")
    engine = Leases(clock, workers, LogSink(tmp_path), (), LeaseTerms(seconds=4.0))
    result_of(engine.resume())
    lease = result_of(engine.take(LeaseRequest("n1"), Caller()))
    clock.rightNow += 5.0
    result_of(engine._sweep())  # before the heartbeats that have come meanwhile are read
    assert result_of(engine.renew(lease.id, Heartbeat(lease.fencing))).expires == clock.seconds() + 4.0


def test_two_engines_whose_clock_is_set_back_move_each_limit_once(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, workers: Any, tmp_path: Path, clock: Clock
) -> None:
    submit("a", "b", timeout=7200.0)
    other = Leases(clock, workers, LogSink(tmp_path), (), LeaseTerms(seconds=30.0), engine="second")
    result_of(other.resume())
    held = [result_of(engine.take(LeaseRequest("n1"), Caller())) for engine in (service, other)]
    before = [deadline_of(filled_sqlite, lease) for lease in held]
    clock.rightNow -= 3600.0 - SWEEP
    for engine in (service, other):
        result_of(engine._sweep())  # its timer is of the time before
    assert [deadline_of(filled_sqlite, lease) for lease in held] == [limit - 3600.0 for limit in before]


def test_leases_go_on_after_the_database_was_away(
    service: Leases, submit: Any, result_of: Any, clock: Clock, workers: Any
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    whole, workers._database = workers._database, None
    clock.pump([1.0] * 60)
    workers._database = whole
    clock.advance(1.0)
    assert result_of(service.renew(lease.id, Heartbeat(lease.fencing))).cancel is False


def test_leases_go_on_after_nothing_could_be_written(
    service: Leases, submit: Any, result_of: Any, clock: Clock, workers: Any
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    workers.write = refuse  # heartbeats are refused as well
    clock.pump([1.0] * 32)  # for as long as a lease lasts, and a little
    del workers.write
    clock.advance(1.0)
    assert result_of(service.renew(lease.id, Heartbeat(lease.fencing))).cancel is False
    clock.pump([1.0] * 32)  # from now on silence counts again
    with pytest.raises(StaleLeaseError):
        result_of(service.renew(lease.id, Heartbeat(lease.fencing)))


def test_a_result_that_waited_for_the_engine_is_not_too_late(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    submit("a", timeout=40.0)
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    filled_sqlite.now = clock.seconds() + 3600.0
    assert filled_sqlite.run(leases.extend_own, filled_sqlite.now, 30.0, "") == 1
    filled_sqlite.now += 10.0
    assert filled_sqlite.run(leases.expire, filled_sqlite.now, filled_sqlite.terms) == ()
    assert filled_sqlite.run(attempts.get, lease.id).ended is None


def test_a_test_node_that_refuses_gets_no_job_and_says_why(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    submit("a")
    refusal = LeaseRequest("n1", wait=20.0, load=0.5, memory_free=7, disk_free=3, refuses="3 bytes of disk are left")
    answer = start(service.take(refusal, Caller()))
    clock.pump([1.0] * 19)
    assert answer == []
    (node,) = filled_sqlite.run(nodes.all_nodes, clock.seconds())
    assert (node.refuses, node.disk_free, node.load) == ("3 bytes of disk are left", 3, 0.5)
    clock.advance(2.0)
    assert answer == [None]
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    assert filled_sqlite.run(nodes.all_nodes, clock.seconds())[0].refuses == ""
    result_of(service.renew(lease.id, Heartbeat(lease.fencing, refuses="3 bytes of disk are left")))
    assert filled_sqlite.run(nodes.all_nodes, clock.seconds())[0].refuses == "3 bytes of disk are left"


def test_a_slot_that_waits_gets_no_job_once_its_test_node_refuses(
    service: Leases, submit: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    waiting = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    assert result_of(service.take(LeaseRequest("n1", wait=0.0, refuses="is stopping"), Caller())) is None
    service.notice(submit("a").jobs)
    clock.advance(1.0)
    assert waiting == []
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    assert lease.job.release == "a"


def test_who_waits_gets_a_job_as_soon_as_its_back_off_is_over(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    end(service, filled_sqlite, lease, Outcome.LOST)
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    clock.pump([1.0] * 1)
    assert answer == []
    clock.pump([1.0] * 2)
    assert answer[0].attempt == 2


def test_an_equal_job_is_held_until_the_one_that_runs_ends(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start
) -> None:
    files = {"software/a": Group({"software/a/software.cfg": "100644 1"})}
    for name in ("n1", "n2"):
        result_of(service.hello(NodeHello(name, "linux-x86_64", environment={"python": "3.11"})))
    first, second = (submit("a", files=files).jobs[0] for _ in range(2))
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    answer = start(service.take(LeaseRequest("n2", wait=20.0), Caller()))
    assert (lease.job.id, answer) == (first, [])
    end(service, filled_sqlite, lease, Outcome.TIMED_OUT)  # which proves nothing
    assert answer[0].job.id == second


def test_a_held_job_goes_on_in_ten_seconds_where_nobody_tells_of_the_end(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    files = {"software/a": Group({"software/a/software.cfg": "100644 1"})}
    for name in ("n1", "n2"):
        result_of(service.hello(NodeHello(name, "linux-x86_64", environment={"python": "3.11"})))
    _, second = (submit("a", files=files).jobs[0] for _ in range(2))
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    answer = start(service.take(LeaseRequest("n2", wait=60.0), Caller()))
    arguments = (lease.id, lease.fencing, Outcome.TIMED_OUT, "", clock.seconds(), filled_sqlite.terms)
    filled_sqlite.run(leases.finish, *arguments, digest="d")
    filled_sqlite.run(lambda connection: connection.execute(sa.delete(schema.events)))
    clock.pump([1.0] * 11)
    assert answer[0].job.id == second


def test_what_other_processes_change_is_found(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, start: Start, clock: Clock
) -> None:
    cancelled, done = submit("a", "b").jobs
    filled_sqlite.run(jobs.cancel, cancelled, clock.seconds())
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    assert lease.job.id == done
    end(service, filled_sqlite, lease, Outcome.PASSED)
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    filled_sqlite.run(jobs.retry, cancelled, clock.seconds())
    clock.advance(1.0)
    assert answer[0].job.id == cancelled


def test_jobs_that_no_event_tells_of_are_found_too(
    service: Leases, submit: Any, filled_sqlite: Any, start: Start, clock: Clock
) -> None:
    clock.pump([1.0] * 3)
    (job,) = filled_sqlite.revision("a").jobs
    filled_sqlite.run(lambda connection: connection.execute(sa.delete(schema.events)))
    answer = start(service.take(LeaseRequest("n1", wait=20.0), Caller()))
    clock.pump([1.0] * 5)
    assert answer == []
    clock.pump([1.0] * 6)
    assert answer[0].job.id == job


def test_a_claim_that_fails_loses_no_job(
    service: Leases, submit: Any, result_of: Any, workers: Any, clock: Clock
) -> None:
    submit("a")
    result_of(service.take(LeaseRequest("n1", wait=0.0, kinds=("other",)), Caller()))  # it was heard
    whole, workers._database = workers._database, None
    with pytest.raises(AttributeError):
        result_of(service.take(LeaseRequest("n1"), Caller()))
    workers._database = whole
    assert result_of(service.take(LeaseRequest("n1"), Caller())).job.release == "a"


def test_a_restarted_engine_extends_its_own_leases_only(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, workers: Any, tmp_path: Path, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    clock.advance(5.0)
    other = Leases(clock, workers, LogSink(tmp_path), (), LeaseTerms(seconds=30.0), engine="second")
    result_of(other.resume())
    assert filled_sqlite.run(attempts.get, lease.id).expires == lease.expires


def test_a_log_is_not_checked_for_each_piece_of_it(
    service: Leases, submit: Any, filled_sqlite: Any, result_of: Any, workers: Any, clock: Clock
) -> None:
    submit("a")
    lease = result_of(service.take(LeaseRequest("n1"), Caller()))
    with pytest.raises(StaleLeaseError):
        result_of(service.log_of(lease.id, lease.fencing + 1))
    whole, workers._database = workers._database, None
    assert result_of(service.log_of(lease.id, lease.fencing)) == "logs/1/1.log"  # it was given this very second
    workers._database = whole
    clock.advance(1.0)
    assert result_of(service.log_of(lease.id, lease.fencing)) == "logs/1/1.log"
    workers._database = None
    assert result_of(service.log_of(lease.id, lease.fencing)) == "logs/1/1.log"
    workers._database = whole
    filled_sqlite.run(leases.give_back, lease.id, clock.seconds())  # as another engine may end it
    clock.advance(1.0)
    with pytest.raises(StaleLeaseError):
        result_of(service.log_of(lease.id, lease.fencing))
