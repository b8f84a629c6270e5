# SPDX-License-Identifier: Apache-2.0
"""Retention: what rules keep stays, all else goes in small steps; one engine at a time does it."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from twisted.internet.task import Clock

from allotment.messages.job import JobState, Outcome
from allotment.messages.manifest import Blob, ReleaseManifest, Signature, SignedManifest
from allotment.plugins import plugins
from allotment_testfarm.db import events, jobs, leases, manifests, retention
from allotment_testfarm.db.schema import attempts
from allotment_testfarm.db.schema import jobs as jobs_table
from allotment_testfarm.engine.duties import AllDuties
from allotment_testfarm.engine.judging import judge_jobs
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.retention import INTERVAL, Removed, Retention, Sweep
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.retention import DAY, Rules
from allotment_testfarm.verdicts import rules

VERDICTS = rules(plugins())
RULES = Rules(green_logs=30, logs=100, jobs=1, manifests=1, events=60)


@dataclass
class Farm:
    """A farm's database and folder, filled by the functions of the engine."""

    filled: Any
    folder: Path

    def run(self, release: str, outcome: Outcome = Outcome.PASSED, *, is_sealed: bool = True) -> Any:
        """Run a job of a new revision with a log of 9 bytes, and let a day go by; return its lease."""
        f = self.filled
        f.revision(release)
        lease = f.claim()
        log = self.log(lease.job.id)
        sink = LogSink(self.folder)
        sink.append(str(log.relative_to(self.folder)), 0, b"some text")
        if is_sealed:
            sink.seal(str(log.relative_to(self.folder)))
        f.run(leases.finish, lease.id, lease.fencing, outcome, "why", f.now, f.terms, digest="d", log_bytes=9)
        f.run(judge_jobs, [lease.job.id], VERDICTS, f.now)
        f.now += DAY
        return lease

    def manifest(self, lease: Any, text: bytes, offer: str | None = None) -> Path:
        """Sign what a job has made and return its closure's blob, which is old; ``offer`` is how the last one went."""
        sha256 = hashlib.sha256(text).hexdigest()
        blob = self.folder / "blobs" / sha256[:2] / sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(text)
        made = ReleaseManifest(lease.job.release, "software.cfg", Blob(sha256, len(text)), {}, {})
        signed = SignedManifest(made, (Signature("key", "signature"),))
        self.filled.run(manifests.add, signed, lease.id, self.filled.now)
        if offer is not None:
            self.filled.run(manifests.note_offer, made.sha256, self.filled.now, offer)
        self.age(blob, 2)
        return blob

    def age(self, path: Path, days: float) -> None:
        seconds = self.filled.now - days * DAY
        os.utime(path, (seconds, seconds))

    def log(self, job: int) -> Path:
        return self.folder / f"logs/{job}/1.log"

    def has_log(self, job: int) -> bool:
        return bool(list(self.log(job).parent.glob("1.log*")))

    def removed(self, job: int) -> float | None:
        with self.filled.database.read() as connection:
            return connection.execute(sa.select(attempts.c.log_removed).where(attempts.c.job_id == job)).scalar_one()

    def sweep(self, rules: Rules = RULES, days: float = 0, *, is_dry: bool = False) -> list[Removed]:
        """Sweep some days later."""
        found = Sweep(self.filled.database, self.folder, LogSink(self.folder), rules, is_dry=is_dry)
        return [item for step in found.steps(self.filled.now + days * DAY) for item in step]


@pytest.fixture
def farm(filled: Any, tmp_path: Path) -> Farm:
    return Farm(filled, tmp_path)


@pytest.fixture
def sqlite(filled_sqlite: Any, tmp_path: Path) -> Iterator[Farm]:
    yield Farm(filled_sqlite, tmp_path)


def logs(removed: list[Removed]) -> list[int]:
    """Return the jobs whose logs went."""
    return [int(item.name.split(",")[0].removeprefix("job ")) for item in removed if item.kind == "log"]


def test_logs_of_green_jobs_go_first_and_the_newest_of_each_release_stay(farm: Farm) -> None:
    green = [farm.run("nginx").job.id for _ in range(3)]
    red = [farm.run("redis", Outcome.FAILED).job.id for _ in range(2)]
    assert logs(farm.sweep(days=20)) == []
    assert logs(farm.sweep(days=31)) == green[:2]
    assert [farm.has_log(job) for job in (*green, *red)] == [False, False, True, True, True]
    assert [farm.removed(job) is None for job in green] == [False, False, True]
    assert logs(farm.sweep(days=31)) == []
    assert logs(farm.sweep(days=200)) == red[:1]
    assert all(farm.filled.run(jobs.get, job) for job in green + red)  # the rows stay


def test_a_log_is_removed_whether_it_is_packed_or_not(farm: Farm) -> None:
    first, second, _ = (farm.run("nginx", is_sealed=sealed).job.id for sealed in (True, False, True))
    assert logs(farm.sweep(days=50)) == [first, second]
    assert not farm.log(first).parent.exists() and not farm.log(second).parent.exists()


def test_a_job_that_waits_again_keeps_what_its_first_attempt_wrote(farm: Farm) -> None:
    lease, _ = farm.run("nginx"), farm.run("nginx")
    farm.filled.run(jobs.retry, lease.job.id, farm.filled.now)
    assert logs(farm.sweep(days=500)) == []


def test_what_proved_the_newest_manifest_stays(farm: Farm) -> None:
    old, proof, newest = (farm.run("nginx") for _ in range(3))
    farm.manifest(old, b"old")
    kept = farm.manifest(proof, b"kept")
    assert logs(farm.sweep(days=500)) == [old.job.id]
    assert kept.exists()
    assert farm.has_log(proof.job.id) and farm.has_log(newest.job.id)


def test_what_proved_the_newest_jobs_stays(farm: Farm) -> None:
    old, proof = farm.run("nginx"), farm.run("nginx")
    (newest,) = farm.filled.revision("nginx").jobs
    shown = {"state": JobState.DONE, "outcome": Outcome.PASSED, "proved_by": proof.job.id}
    farm.filled.run(sa.Connection.execute, sa.update(jobs_table).where(jobs_table.c.id == newest).values(shown))
    assert logs(farm.sweep(days=500)) == [old.job.id]


def test_blobs_that_no_manifest_needs_go_unless_they_are_young_or_offered_in_vain(farm: Farm) -> None:
    first, second, third, fourth = (farm.run("nginx") for _ in range(4))
    accepted = farm.manifest(first, b"accepted", offer="")
    refused = farm.manifest(second, b"refused", offer="the master is away")
    unneeded = farm.manifest(third, b"unneeded")
    newest = farm.manifest(fourth, b"newest")
    young = farm.folder / "blobs/ab" / ("ab" * 32)
    young.parent.mkdir(exist_ok=True)
    young.write_bytes(b"just uploaded")
    farm.age(young, 0.5)
    removed = {item.name for item in farm.sweep() if item.kind == "blob"}
    assert removed == {str(path.relative_to(farm.folder)) for path in (accepted, unneeded)}
    assert [path.exists() for path in (accepted, refused, unneeded, newest, young)] == [False, True, False, True, True]


def test_a_closure_that_is_needed_again_during_the_sweep_stays(farm: Farm) -> None:
    leases = [farm.run("nginx") for _ in range(3)]
    one, two, _ = [farm.manifest(lease, lease.job.revision.encode()) for lease in leases]
    first, second = sorted((one, two))
    sweep = Sweep(farm.filled.database, farm.folder, LogSink(farm.folder), RULES).steps(farm.filled.now)
    assert [item.name for item in next(step for step in sweep if step)] == [str(first.relative_to(farm.folder))]
    farm.filled.now += 1
    farm.manifest(leases[(one, two).index(second)], second.read_bytes())
    assert list(sweep) == []
    assert second.exists()


def test_a_closure_stays_that_another_transaction_is_about_to_need(farm: Farm) -> None:
    lease, newest = farm.run("nginx"), farm.run("nginx")
    old = farm.manifest(lease, b"old")
    farm.manifest(newest, b"newest")
    database = farm.filled.database
    (signed,) = (item.signed for item in farm.filled.run(manifests.to_offer) if item.attempt == lease.id)
    gone: list[bool] = []
    sweep = threading.Thread(target=lambda: gone.append(farm.filled.run(retention.give_up_blob, RULES, old.name)))
    with database.write() as connection:
        manifests.add(connection, signed, lease.id, farm.filled.now + 1)
        sweep.start()
        sweep.join(0.5)
        assert sweep.is_alive()  # it waits
    sweep.join(60)
    assert gone == [False]


def test_parts_of_the_cache_go_that_no_kept_manifest_names(farm: Farm) -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("named", "unnamed", "young")}
    paths = {}
    for name, digest in digests.items():
        archive = farm.folder / f"cache/parts/archives/{digest[:2]}/{digest}"
        entry = farm.folder / f"cache/parts/entries/{name}-1-{digest[:32]}.json"
        for path, text in ((archive, "packed"), (entry, json.dumps({"packed": {"archive": {"sha256": digest}}}))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            farm.age(path, 5 if name == "young" else 31)
        paths[name] = (entry, archive)
    lease = farm.run("nginx")
    parts = {"linux": {"named": digests["named"]}}
    made = ReleaseManifest("nginx", "software.cfg", Blob("0" * 64, 1), {}, parts)
    farm.filled.run(manifests.add, SignedManifest(made, (Signature("key", "s"),)), lease.id, farm.filled.now)
    shown = farm.sweep(is_dry=True)
    assert [item.name for item in shown] == [str(path.relative_to(farm.folder)) for path in paths["unnamed"]]
    assert farm.sweep() == shown
    assert {name: [path.exists() for path in both] for name, both in paths.items()} == {
        "named": [True, True],
        "unnamed": [False, False],
        "young": [True, True],
    }
    assert farm.sweep() == []


def test_archives_and_uploads_that_nobody_has_touched_go(sqlite: Farm) -> None:
    folder = sqlite.folder
    files = {folder / "sources/engine/old.tar": 8, folder / "sources/engine/new.tar": 6, folder / "temporary/x": 2}
    for path, days in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        sqlite.age(path, days)
    assert sqlite.sweep() == [
        Removed("archive", "sources/engine/old.tar", 5),
        Removed("upload", "temporary/x", 5),
    ]


def test_old_events_go_and_the_newest_stays_whatever_its_age(farm: Farm) -> None:
    farm.run("nginx")
    last = farm.filled.run(events.newest)
    assert [item for item in farm.sweep(days=50) if item.kind == "event"] == []
    (removed,) = [item for item in farm.sweep(days=70) if item.kind == "event"]
    assert removed.count == last - 1
    assert [event.id for event in farm.filled.run(events.after, 0)] == [last]
    assert farm.sweep(days=70) == []


def test_many_events_go_in_steps(sqlite: Farm) -> None:
    for number in range(1203):
        sqlite.filled.run(events.record, sqlite.filled.now, "test", f"job/{number}")
    assert [item.count for item in sqlite.sweep(days=61)] == [500, 500, 202]


def test_a_step_costs_the_same_however_many_jobs_there_are(sqlite: Farm) -> None:
    def cost() -> int:
        """Count what the database does for one step, in hundreds of its instructions."""
        counted = []
        with sqlite.filled.database.read() as connection:
            driver = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: counted.append(1), 100)
            found = retention.old_logs(connection, RULES, sqlite.filled.now + 500 * DAY, limit=5)
            driver.set_progress_handler(None, 0)
        assert len(found.logs) == 5 and found.following
        return len(counted)

    for _ in range(8):
        sqlite.run("nginx")
    few = cost()
    same = {"project_id": 1, "profile": "x", "kind": "release", "platform": "any", "timeout": 1.0}
    same |= {"options": {}, "state": "done", "colour": "green", "created": 1.0}
    with sqlite.filled.database.write() as connection:
        rows = [{**same, "id": 100 + n, "revision_id": 1, "position": 1, "release": f"r{n}"} for n in range(5000)]
        connection.execute(sa.insert(jobs_table), rows)
    assert cost() <= 2 * few


def test_a_dry_sweep_shows_the_same_and_removes_nothing(farm: Farm) -> None:
    lease, _ = farm.run("nginx"), farm.run("nginx")
    blob = farm.manifest(lease, b"first")
    farm.manifest(farm.run("nginx"), b"second")
    shown = farm.sweep(days=100, is_dry=True)
    assert {item.kind for item in shown} == {"log", "event", "blob"}
    assert farm.has_log(lease.job.id) and blob.exists() and farm.removed(lease.job.id) is None
    assert farm.sweep(days=100) == shown


def test_a_log_that_somebody_has_removed_is_noted_all_the_same(sqlite: Farm) -> None:
    lease, _ = sqlite.run("nginx"), sqlite.run("nginx")
    LogSink(sqlite.folder).remove(f"logs/{lease.job.id}/1.log")
    assert logs(sqlite.sweep(days=50)) == [lease.job.id]
    assert logs(sqlite.sweep(days=50)) == []


class Refused:
    """Another engine has the duty."""

    async def mine(self, duty: str) -> bool:
        assert duty == "retention"
        return False


def test_the_service_sweeps_each_hour_when_it_has_the_duty(sqlite: Farm, workers: Any, clock: Clock) -> None:
    old, _ = sqlite.run("nginx"), sqlite.run("nginx")
    sweep = Sweep(sqlite.filled.database, sqlite.folder, LogSink(sqlite.folder), replace(RULES, green_logs=2.0))
    clock.rightNow = sqlite.filled.now
    for duties, is_there in ((Refused(), True), (AllDuties(), False)):
        service = Retention(clock, workers, sweep, duties)
        service.startService()
        clock.advance(DAY)  # the first is two days old now
        service.stopService()
        assert sqlite.has_log(old.job.id) == is_there
    assert clock.getDelayedCalls() == [] and INTERVAL < DAY


def prune(folder: Path, *options: str) -> str:
    rules = ("--keep-green-logs", "1", "--keep-jobs", "1")
    command = [sys.executable, "-m", "allotment", "farm", "prune", "--folder", str(folder), *rules, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_command_shows_what_would_go_and_removes_it(sqlite: Farm) -> None:
    old, _ = sqlite.run("nginx"), sqlite.run("nginx")  # decades ago, as the real clock has it
    shown = json.loads(prune(sqlite.folder, "--dry-run", "--json"))
    assert shown["dry_run"] and sqlite.has_log(old.job.id)
    assert [item["name"] for item in shown["items"] if item["kind"] == "log"] == [f"job {old.job.id}, attempt 1: nginx"]
    count = sum(item["count"] for item in shown["items"] if item["kind"] == "event")
    total = f"1 log, {count} events; {shown['bytes']} bytes\n"
    assert shown["bytes"] > 0
    assert prune(sqlite.folder, "--dry-run").endswith(f"\nwould go: {total}")
    assert prune(sqlite.folder).endswith(f"\nremoved: {total}")
    assert not sqlite.has_log(old.job.id)
    assert json.loads(prune(sqlite.folder, "--json"))["items"] == []
    assert prune(sqlite.folder) == "Nothing goes: a rule keeps all there is.\n"


def test_the_command_makes_no_database(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "allotment", "farm", "prune", "--folder", str(tmp_path), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    expected = (
        f"error: {tmp_path} has no farm.sqlite. Give a farm's folder, and --database if it was started with that.\n"
    )
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (1, expected, [])


def test_logs_that_could_not_be_packed_are_packed_later(farm: Farm) -> None:
    ended = [farm.run("nginx", is_sealed=False).job.id for _ in range(3)]
    farm.filled.revision("nginx")
    running = farm.filled.claim().job.id
    LogSink(farm.folder).append(f"logs/{running}/1.log", 0, b"goes on")
    farm.sweep(is_dry=True)
    assert all(farm.log(job).exists() for job in ended)
    farm.sweep()
    assert [farm.log(job).exists() for job in (*ended, running)] == [False, False, False, True]
    with Log(farm.log(ended[0])) as log:
        assert (log.is_packed, b"".join(log.blocks(0, log.size))) == (True, b"some text")


def test_all_ended_logs_are_looked_at_a_few_at_a_time(farm: Farm) -> None:
    made = [farm.run("nginx").job.id for _ in range(5)]
    found: list[str] = []
    after: retention.Place | None = retention.START
    while after is not None:
        with farm.filled.database.read() as connection:
            paths, after = retention.ended_logs(connection, after, limit=2)
        assert len(paths) <= 2
        found += paths
    assert found == [f"logs/{job}/1.log" for job in made]
