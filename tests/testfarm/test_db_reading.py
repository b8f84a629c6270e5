# SPDX-License-Identifier: Apache-2.0
"""What pages read: revisions, jobs, matrix, status, test nodes, events, manifests; on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment.messages.manifest import Blob, ReleaseManifest, Signature, SignedManifest
from allotment_testfarm.db import (
    attempts,
    events,
    history,
    jobs,
    leases,
    manifests,
    matrix,
    nodes,
    projects,
    queue,
    revisions,
    waiting,
)
from allotment_testfarm.db import verdicts as stored
from allotment_testfarm.db.schema import jobs as jobs_table
from allotment_testfarm.verdicts import Colour, Verdict


def finish(filled: Any, outcome: Outcome, verdict: Verdict) -> int:
    lease = filled.claim()
    filled.now += 5
    filled.run(leases.finish, lease.id, lease.fencing, outcome, "", filled.now, filled.terms, digest="d")
    filled.run(stored.store, lease.job.id, verdict, filled.now)
    return int(lease.job.id)


def test_an_empty_farm_reads_as_empty(filled: Any) -> None:
    assert filled.run(matrix.matrix, filled.project).revisions == ()
    assert filled.run(matrix.status, filled.project) == ()
    assert filled.run(jobs.page) == ()
    assert filled.run(attempts.detail, 1) is None
    assert filled.run(events.newest) == 0
    assert filled.run(waiting.all_ids) == set()


def test_a_revision_is_scheduled_once(filled: Any) -> None:
    made = filled.revision("a", "b")
    filled.count -= 1
    with pytest.raises(AssertionError):
        filled.revision("a", "b")
    assert len(made.jobs) == 2
    assert len(filled.run(jobs.page)) == 2


def test_the_matrix_has_a_cell_where_there_is_a_job(filled: Any) -> None:
    filled.revision("a")
    filled.revision("a", "b")
    filled.revision()
    job = finish(filled, Outcome.PASSED, Verdict("passed", Colour.GREEN, since=f"{1:040x}"))
    table = filled.run(matrix.matrix, filled.project)
    assert [revision.position for revision in table.revisions] == [3, 2, 1]
    assert [row.release for row in table.rows] == ["a", "b"]
    (none, waiting, green), (_, _, nothing) = table.rows[0].cells, table.rows[1].cells
    assert none is None
    assert nothing is None
    assert waiting.state is JobState.WAITING
    assert (green.job, green.seconds, green.verdict.colour) == (job, 5.0, Colour.GREEN)


def test_the_matrix_is_read_in_windows(filled: Any) -> None:
    for _ in range(5):
        filled.revision("a")
    first = filled.run(matrix.matrix, filled.project, limit=2)
    second = filled.run(matrix.matrix, filled.project, limit=2, before=first.revisions[-1].position)
    assert [revision.position for revision in first.revisions + second.revisions] == [5, 4, 3, 2]
    assert len(second.rows[0].cells) == 2


def test_a_release_is_as_its_last_green_or_red_verdict_says(filled: Any) -> None:
    filled.revision("a", "gone")
    finish(filled, Outcome.PASSED, Verdict("passed", Colour.GREEN, since=f"{1:040x}"))
    finish(filled, Outcome.PASSED, Verdict("passed", Colour.GREEN, since=f"{1:040x}"))
    filled.now += 100
    filled.revision("a")
    since = filled.now
    job = finish(filled, Outcome.FAILED, Verdict("new-failure", Colour.RED, since=f"{2:040x}"))
    filled.revision("a", "new")
    finish(filled, Outcome.CANCELLED, Verdict("inconclusive", Colour.GREY, since=f"{3:040x}"))
    old, new = filled.run(matrix.status, filled.project)
    assert (old.release, old.job, old.verdict.colour, old.since) == ("a", job, Colour.RED, since)
    assert (new.release, new.verdict, new.since) == ("new", None, None)


def test_a_release_that_is_built_at_night_only_keeps_its_place(filled: Any) -> None:
    filled.revision("a", kind="from-scratch")
    filled.revision("a")
    assert [(item.release, item.kind) for item in filled.run(matrix.status, filled.project)] == [
        ("a", "from-scratch"),
        ("a", "release"),
    ]


def test_marks_and_strips_are_the_matrix_in_short(filled: Any) -> None:
    filled.revision("a")
    filled.revision()
    filled.revision("a", "b")
    red = finish(filled, Outcome.FAILED, Verdict("new-failure", Colour.RED, since=f"{1:040x}"))
    grey = finish(filled, Outcome.CANCELLED, Verdict("inconclusive", Colour.GREY, since=f"{3:040x}"))
    filled.claim()
    marks = filled.run(matrix.marks, filled.project, 3, 1)
    a, b = ("a", "release", "any"), ("b", "release", "any")
    assert marks[a] == {1: (red, "new-failure", "red"), 3: (grey, "inconclusive", "grey")}
    assert [(mark.word, mark.colour) for mark in marks[b].values()] == [("leased", None)]
    assert filled.run(matrix.strips, filled.project, 3, 3) == {a: "o.r", b: "w.."}
    assert filled.run(matrix.strips, filled.project, 2, 2) == {a: ".r"}


def test_a_release_is_read_from_the_newest_revision_back(filled: Any) -> None:
    for _ in range(3):
        filled.revision("a", "b")
    finish(filled, Outcome.PASSED, Verdict("passed", Colour.GREEN))
    filled.revision("a", kind="from-scratch")
    key = ("a", "release", "any")
    assert filled.run(history.kinds, filled.project, "a") == (("a", "from-scratch", "any"), key)
    newest = filled.run(history.page, filled.project, key, limit=2)
    (oldest,) = filled.run(history.page, filled.project, key, before=newest[-1].position)
    assert [job.position for job in (*newest, oldest)] == [3, 2, 1]
    assert (oldest.seconds, oldest.verdict.colour, newest[0].seconds) == (5.0, Colour.GREEN, None)
    around = filled.run(history.around, filled.project, key, 2, each=1)
    assert [job.position for job in around] == [3, 2, 1]
    assert filled.run(history.last_green, filled.project, key, 3) == oldest
    assert filled.run(history.last_green, filled.project, key, 1) is None


def test_the_queue_has_what_runs_and_what_waits(filled: Any) -> None:
    filled.revision("a", "b", "c")
    lease = filled.claim()
    found = filled.run(queue.read, filled.now, limit=1)
    assert [(item.job.id, item.node, item.step) for item in found.running] == [(lease.job.id, "n1", "")]
    assert [item.job.release for item in found.waiting] == ["b"] and found.waits == 2
    assert found.waiting[0].why.text == "The one test node that fits is busy. It is the next."


def test_jobs_are_filtered_and_paged(filled: Any) -> None:
    filled.revision("a", "b")
    filled.revision("a")
    assert [job.release for job in filled.run(jobs.page)] == ["a", "b", "a"]
    assert len(filled.run(jobs.page, filled.project, release="a")) == 2
    assert len(filled.run(jobs.page, revision=f"{2:040x}")) == 1
    newest = filled.run(jobs.page, limit=1)
    assert len(filled.run(jobs.page, before=newest[0].id, state=JobState.WAITING)) == 2
    assert filled.run(jobs.page, colour=Colour.RED) == ()


@pytest.mark.parametrize("wanted", [{"colour": Colour.RED}, {"release": "b", "colour": Colour.GREEN}, {"release": "b"}])
def test_jobs_that_do_not_match_are_not_read(filled_sqlite: Any, wanted: dict[str, Any]) -> None:
    def cost() -> int:
        """Count what the database does to find nothing, in hundreds of its instructions."""
        counted: list[int] = []
        with filled_sqlite.database.read() as connection:
            driver = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: counted.append(1), 100)
            assert jobs.page(connection, filled_sqlite.project, **wanted) == ()
            driver.set_progress_handler(None, 0)
        return len(counted)

    few = cost()
    filled_sqlite.revision(*(f"a{number}" for number in range(500)))
    with filled_sqlite.database.write() as connection:
        connection.execute(sa.update(jobs_table).values(colour=Colour.GREEN))
    assert cost() <= few + 2


@pytest.mark.parametrize("given", ["", "123", "zz%_zzzzz", "a" * 40])
def test_a_revision_that_is_not_there_is_none(filled: Any, given: str) -> None:
    filled.revision("a")
    assert filled.run(revisions.get, filled.project, given) is None
    assert filled.run(revisions.get, filled.project, f"{1:040x}"[:12]).position == 1


def test_test_nodes_show_their_figures_and_their_job(filled: Any) -> None:
    filled.revision("a")
    lease = filled.claim()
    filled.run(nodes.seen, "n1", filled.now, 0.5, 10, 20)
    filled.run(nodes.hello, "old", "linux", 2, "0.1", filled.now - 3600)
    busy, old = filled.run(nodes.all_nodes, filled.now)
    assert (busy.load, busy.memory_free, busy.disk_free, busy.is_connected) == (0.5, 10, 20, True)
    assert [(job.id, job.release, job.attempt) for job in busy.current] == [(lease.job.id, "a", 1)]
    assert (old.is_connected, old.slots, old.current) == (False, 2, ())
    assert filled.run(nodes.seen, "stranger", filled.now) is None


def test_every_change_is_an_event(filled: Any) -> None:
    filled.revision("a")
    finish(filled, Outcome.PASSED, Verdict("passed", Colour.GREEN))
    found = filled.run(events.after, 0)
    assert [event.kind for event in found] == [
        "revision.seen",
        "job.created",
        "job.leased",
        "attempt.ended",
        "job.judged",
    ]
    assert filled.run(events.newest) == found[-1].id
    assert filled.run(events.of_subject, found[1].subject)[0] == found[1]


def test_a_manifest_is_kept_until_it_is_offered_and_after(filled: Any) -> None:
    filled.revision("a")
    lease = filled.claim()
    manifest = ReleaseManifest("a", "software.cfg", Blob("0" * 64, 1), {}, {})
    signed = SignedManifest(manifest, (Signature("ed25519:k", "v"),))
    assert filled.run(manifests.add, signed, lease.id, filled.now)
    assert not filled.run(manifests.add, signed, lease.id, filled.now)
    filled.run(manifests.note_offer, manifest.sha256, filled.now, "master away")
    (waiting,) = filled.run(manifests.to_offer)
    assert (waiting.signed, waiting.problem) == (signed, "master away")
    filled.run(manifests.note_offer, manifest.sha256, filled.now)
    assert filled.run(manifests.to_offer) == ()
    assert filled.run(manifests.get, manifest.sha256).offered == filled.now


def test_a_manifest_is_found_as_quickly_among_many(filled_sqlite: Any) -> None:
    filled_sqlite.revision("a")
    lease = filled_sqlite.claim()

    def add(number: int) -> None:
        made = ReleaseManifest("a", "software.cfg", Blob(f"{number:064x}", 1), {}, {})
        filled_sqlite.run(manifests.add, SignedManifest(made, ()), lease.id, number)
        filled_sqlite.run(manifests.note_offer, made.sha256, number)

    def cost(number: int) -> int:
        """Count what the database does for another one, in hundreds of its instructions."""
        counted: list[int] = []
        with filled_sqlite.database.write() as connection:
            driver = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: counted.append(1), 100)
            made = ReleaseManifest("a", "software.cfg", Blob(f"{number:064x}", 1), {}, {})
            manifests.add(connection, SignedManifest(made, ()), lease.id, number)
            assert len(manifests.to_offer(connection)) == 1
            manifests.note_offer(connection, made.sha256, number)
            driver.set_progress_handler(None, 0)
        return len(counted)

    add(0)
    few = cost(1)
    for number in range(2, 200):
        add(number)
    assert cost(200) <= 2 * few + 2


def test_a_newer_job_that_runs_again_keeps_its_place(filled: Any) -> None:
    """Its manifest went to the master, which would take that of an older revision for a newer one."""
    (older,) = filled.revision("a").jobs
    filled.claim("n1")
    filled.revision("a")
    lease = filled.claim("n2")
    manifest = ReleaseManifest("a", "software.cfg", Blob("0" * 64, 1), {}, {})
    ending = (lease.id, lease.fencing, Outcome.PASSED, "", filled.now, filled.terms)
    filled.run(leases.finish, *ending, digest="d", manifest=manifest.sha256)
    assert filled.run(jobs.newer_green, older) is None  # it was not judged green, nor signed
    filled.run(manifests.add, SignedManifest(manifest, ()), lease.id, filled.now)
    filled.run(jobs.retry, lease.job.id, filled.now)
    assert filled.run(jobs.newer_green, older) == lease.job.id


def test_a_project_keeps_its_history_when_its_repository_moves(filled: Any) -> None:
    first = filled.project
    moved = filled.run(projects.ensure, "main", "/elsewhere", "stable", filled.now)
    assert (moved.id, moved.repository, moved.branch) == (first, "/elsewhere", "stable")
    filled.run(projects.note_poll, first, filled.now, "away")
    assert filled.run(projects.get, "main").problem == "away"
