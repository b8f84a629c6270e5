# SPDX-License-Identifier: Apache-2.0
"""Results: what is recorded, judged, signed and offered."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from twisted.internet.task import Clock

from allotment.blobs import BlobStore
from allotment.errors import RefusedError, UnreachableError
from allotment.messages.job import Attempt, CaseOutcome, Lease, Outcome, TestCase
from allotment.messages.manifest import Blob, ReleaseManifest
from allotment.plugins import plugins
from allotment_recipes.reach import Group
from allotment_recipes.signing import load_or_create_key, verify
from allotment_testfarm.db import attempts, events, jobs, leases, manifests, nodes, waiting
from allotment_testfarm.db.leases import Ended, LeaseTerms, StaleLeaseError
from allotment_testfarm.db.manifests import StoredManifest
from allotment_testfarm.engine.duties import AllDuties
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.offers import Offers
from allotment_testfarm.engine.proving import prove_waiting
from allotment_testfarm.engine.results import Results
from allotment_testfarm.verdicts import Colour, Verdict, rules
from allotment_testfarm.wire import JobResult


@dataclass
class FakeMaster:
    """Takes offers when it is there."""

    problem: str = ""
    taken: list[str] = field(default_factory=list)
    asked: int = 0
    broken: tuple[str, ...] = ()  # whose closure is gone

    def offer(self, manifest: StoredManifest) -> None:
        self.asked += 1
        if manifest.name in self.broken:
            raise FileNotFoundError(2, "No such file or directory", "blobs/42")
        if self.problem:
            raise UnreachableError(self.problem)
        self.taken.append(manifest.name)


@dataclass
class Farm:
    results: Results
    offers: Offers
    master: FakeMaster
    blobs: BlobStore
    public: str
    ended: list[Ended]


@pytest.fixture
def farm_parts(workers: Any, clock: Clock, tmp_path: Path) -> Any:
    master, ended = FakeMaster(), list[Ended]()
    offers = Offers(clock, workers, master.offer, AllDuties(), interval=5.0)
    key = load_or_create_key(tmp_path / "signing.key")
    blobs = BlobStore(tmp_path / "blobs")
    results = Results(
        clock,
        workers,
        blobs,
        LogSink(tmp_path),
        key,
        rules(plugins()),
        LeaseTerms(),
        log_of=partial(workers.read, leases.check),
        on_end=ended.append,
        on_manifest=offers.wake,
    )
    offers.startService()
    yield Farm(results, offers, master, blobs, key.public, ended)
    offers.stopService()


def manifest(name: str, closure: bytes = b"closure") -> ReleaseManifest:
    return ReleaseManifest(name, "software.cfg", Blob(hashlib.sha256(closure).hexdigest(), len(closure)), {}, {})


def passed(lease: Lease, built: ReleaseManifest | None) -> JobResult:
    return JobResult(lease.fencing, Outcome.PASSED, manifest=built)


def test_a_green_manifest_is_signed_and_offered_at_once(farm_parts: Farm, filled_sqlite: Any, result_of: Any) -> None:
    (job,) = filled_sqlite.revision("a").jobs
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    built = manifest("a")
    result_of(farm_parts.results.accept(lease.id, passed(lease, built)))
    stored = filled_sqlite.run(manifests.get, built.sha256)
    verify(stored.signed, [farm_parts.public])
    assert (stored.offered is not None, farm_parts.master.taken) == (True, ["a"])
    assert filled_sqlite.run(jobs.get, job).verdict.name == "passed"
    assert filled_sqlite.run(attempts.of_job, job)[0].manifest == built.sha256


def test_a_master_that_is_away_is_asked_until_it_accepts(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    farm_parts.master.problem = "the master is away"
    result_of(farm_parts.results.accept(lease.id, passed(lease, manifest("a"))))
    clock.pump([5.0] * 3)
    assert farm_parts.master.asked == 4
    assert filled_sqlite.run(manifests.to_offer)[0].problem == "the master is away."
    farm_parts.master.problem = ""
    clock.advance(5.0)
    assert farm_parts.master.taken == ["a"]
    clock.pump([5.0] * 3)
    assert farm_parts.master.taken == ["a"]


def test_a_closure_that_is_gone_does_not_keep_the_others_back(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any
) -> None:
    farm_parts.master.broken = ("a",)
    farm_parts.blobs.write([b"closure"])
    filled_sqlite.revision("a", "b")
    for lease in (filled_sqlite.claim(), filled_sqlite.claim()):
        result_of(farm_parts.results.accept(lease.id, passed(lease, manifest(lease.job.release))))
    assert farm_parts.master.taken == ["b"]
    (left,) = filled_sqlite.run(manifests.to_offer)
    assert left.problem == "[Errno 2] No such file or directory: 'blobs/42'"


def test_what_an_earlier_engine_could_not_offer_is_offered_at_the_start(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any, workers: Any, clock: Clock
) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    farm_parts.offers.stopService()
    result_of(farm_parts.results.accept(lease.id, passed(lease, manifest("a"))))
    assert farm_parts.master.taken == []
    successor = Offers(clock, workers, farm_parts.master.offer, AllDuties())
    successor.startService()
    successor.stopService()
    assert farm_parts.master.taken == ["a"]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED])
def test_only_a_green_manifest_is_signed(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any, outcome: Outcome
) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    result_of(farm_parts.results.accept(lease.id, JobResult(lease.fencing, outcome, manifest=manifest("a"))))
    assert filled_sqlite.run(manifests.to_offer) == ()


def test_a_revert_that_need_not_run_brings_its_manifest_back_to_the_master(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    filled_sqlite.run(nodes.hello, "n1", "linux-x86_64", 1, "0.1", filled_sqlite.now, {"python": "3.11.2"})
    before, after = ({"software": Group({"a.cfg": text})} for text in ("1", "2"))
    for files, closure in ((before, b"one"), (after, b"two")):
        filled_sqlite.revision("a", files=files)
        farm_parts.blobs.write([closure])
        lease = filled_sqlite.take()
        result_of(farm_parts.results.accept(lease.id, passed(lease, manifest("a", closure))))
    filled_sqlite.revision("a", files=before)
    (job,) = filled_sqlite.run(prove_waiting, rules(plugins()), filled_sqlite.now)
    assert filled_sqlite.run(jobs.get, job).verdict.colour is Colour.GREEN
    (again,) = filled_sqlite.run(manifests.to_offer)
    assert again.signed.manifest == manifest("a", b"one")
    clock.advance(5.0)
    assert farm_parts.master.taken == ["a", "a", "a"]


def test_a_manifest_of_another_name_is_not_signed(farm_parts: Farm, filled_sqlite: Any, result_of: Any) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    built = manifest("kvm")
    result_of(farm_parts.results.accept(lease.id, passed(lease, built)))
    assert filled_sqlite.run(manifests.to_offer) == ()
    (event,) = filled_sqlite.run(events.of_subject, f"manifest/{built.sha256}")
    assert event.data["reason"] == "it is called kvm, the release a"


def test_a_manifest_that_a_verdict_rule_calls_red_is_not_signed(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any
) -> None:
    def slower(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
        return Verdict("slower", Colour.RED, "took twice as long")

    (job,) = filled_sqlite.revision("a").jobs
    lease = filled_sqlite.claim()
    farm_parts.blobs.write([b"closure"])
    farm_parts.results._rules = (slower, *rules(plugins()))
    result_of(farm_parts.results.accept(lease.id, passed(lease, manifest("a"))))
    assert filled_sqlite.run(jobs.get, job).verdict.name == "slower"
    assert filled_sqlite.run(manifests.to_offer) == ()


def test_a_manifest_that_comes_after_a_newer_revisions_is_not_signed(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any
) -> None:
    """Else a master would take the older code for the release's newest."""
    farm_parts.blobs.write([b"older"])
    farm_parts.blobs.write([b"closure"])
    filled_sqlite.revision("a", "b")
    older, another = filled_sqlite.claim("n1"), filled_sqlite.claim("n2")
    filled_sqlite.revision("a")
    newer = filled_sqlite.claim("n3")
    result_of(farm_parts.results.accept(newer.id, passed(newer, manifest("a"))))
    late = manifest("a", b"older")
    result_of(farm_parts.results.accept(older.id, passed(older, late)))
    result_of(farm_parts.results.accept(another.id, passed(another, manifest("b"))))
    assert farm_parts.master.taken == ["a", "b"]
    assert filled_sqlite.run(manifests.get, late.sha256) is None
    (event,) = filled_sqlite.run(events.of_subject, f"manifest/{late.sha256}")
    assert event.data["reason"] == f"job {newer.job.id} has proved a newer revision of a already"
    assert filled_sqlite.run(jobs.get, older.job.id).verdict.name == "passed"


def test_a_revert_offers_the_older_manifest_again(
    farm_parts: Farm, filled_sqlite: Any, result_of: Any, clock: Clock
) -> None:
    """For the master the manifest that came last is the newest, so the one that counts again must come again."""
    worse = manifest("a", b"worse").sha256
    for closure in (b"closure", b"worse", b"closure", b"closure"):
        farm_parts.blobs.write([closure])
        filled_sqlite.revision("a")
        clock.advance(1.0)
        lease = filled_sqlite.claim()
        result_of(farm_parts.results.accept(lease.id, passed(lease, manifest("a", closure))))
    assert farm_parts.master.taken == ["a", "a", "a"]  # and not for the fourth, which changed nothing
    reverted = manifest("a").sha256
    assert filled_sqlite.run(manifests.get, reverted).created > filled_sqlite.run(manifests.get, worse).created


def test_a_manifest_without_its_closure_is_refused(farm_parts: Farm, filled_sqlite: Any, result_of: Any) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()
    built = manifest("a")
    with pytest.raises(RefusedError) as caught:
        result_of(farm_parts.results.accept(lease.id, passed(lease, built)))
    assert str(caught.value) == (f"the manifest's closure {built.closure.sha256} is not here. Upload the blob first.")
    farm_parts.blobs.write([b"closure"])
    result_of(farm_parts.results.accept(lease.id, passed(lease, built)))


def test_a_repeated_result_changes_nothing(farm_parts: Farm, filled_sqlite: Any, result_of: Any) -> None:
    (job,) = filled_sqlite.revision("a").jobs
    lease = filled_sqlite.claim()
    result = JobResult(lease.fencing, Outcome.FAILED, "no")
    for _ in range(3):
        result_of(farm_parts.results.accept(lease.id, result))
    assert [event.kind for event in filled_sqlite.run(events.of_subject, f"job/{job}")].count("attempt.ended") == 1
    with pytest.raises(StaleLeaseError):
        result_of(farm_parts.results.accept(lease.id, JobResult(lease.fencing, Outcome.PASSED)))


def test_an_infrastructure_failure_sets_the_job_waiting_again(
    farm_parts: Farm, filled_sqlite: Any, result_of: Callable[[Any], Any]
) -> None:
    (job,) = filled_sqlite.revision("a").jobs
    lease = filled_sqlite.claim()
    result_of(farm_parts.results.accept(lease.id, JobResult(lease.fencing, Outcome.INFRASTRUCTURE, "disk full")))
    assert [(ended.job, ended.is_done) for ended in farm_parts.ended] == [(job, False)]
    assert filled_sqlite.run(jobs.get, job).verdict is None
    assert filled_sqlite.run(waiting.all_ids) == {job}


def test_a_job_asks_the_database_only_so_often(
    filled_sqlite: Any, farm_parts: Farm, result_of: Callable[..., Any]
) -> None:
    said: list[str] = []
    filled_sqlite.revision("a", "b")
    lease = filled_sqlite.claim()
    engine = filled_sqlite.database.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    cases = (TestCase("suite", "name", CaseOutcome.PASSED, 0.1),)
    result_of(farm_parts.results.accept(lease.id, JobResult(1, Outcome.PASSED, cases=cases)))
    of_result = list(said)
    assert filled_sqlite.take() is not None
    assert not [statement for statement in of_result if "FROM test_cases" in statement]  # they are in hand
    assert len([statement for statement in of_result if not statement.startswith("BEGIN")]) <= 12
    assert len([statement for statement in said if statement.startswith(("UPDATE jobs", "INSERT INTO attempts"))]) == 4


def test_a_revision_asks_the_database_as_often_for_many_releases_as_for_few(filled: Any) -> None:
    counts = []
    for names in (["a"], [f"r{number}" for number in range(50)]):
        said: list[str] = []

        def count(*given: Any, said: list[str] = said) -> None:
            said.append(given[2])

        sqlalchemy.event.listen(filled.database.engine, "before_cursor_execute", count)
        assert len(filled.revision(*names, files={}).jobs) == len(names)
        sqlalchemy.event.remove(filled.database.engine, "before_cursor_execute", count)
        counts.append(len(said))
    assert counts[0] == counts[1]


def test_a_result_that_is_given_back_lets_the_job_wait_as_if_it_was_not_tried(
    filled_sqlite: Any, farm_parts: Farm, result_of: Callable[..., Any]
) -> None:
    (job,) = filled_sqlite.revision("a").jobs
    lease = filled_sqlite.claim()
    given_back = JobResult(lease.fencing, Outcome.INFRASTRUCTURE, "test node n1 was stopped", given_back=True)
    result_of(farm_parts.results.accept(lease.id, given_back))
    again = filled_sqlite.claim()
    assert (again.job.id, again.attempt) == (job, 2)
    assert next(iter(filled_sqlite.run(attempts.of_job, job))).reason == given_back.reason
