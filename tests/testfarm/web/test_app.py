# SPDX-License-Identifier: Apache-2.0
"""The application over jobs that the engine's own functions made, on both databases."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings

from allotment.messages.job import CaseOutcome, Lease, Outcome, Step, TestCase
from allotment_testfarm.db import jobs, leases, projects, verdicts
from allotment_testfarm.db.schema import attempts
from allotment_testfarm.verdicts import Colour, Verdict
from allotment_testfarm.web.app import create_app

PAGES = (
    *("/", "/nodes", "/queue", "/releases/hello"),
    *(f"/api/v1/{name}" for name in ("projects", "revisions", "jobs", "nodes", "matrix", "releases", "queue")),
)


class Site:
    """The application, whose clock is the farm's."""

    def __init__(self, farm: Any, folder: Path) -> None:
        self.farm = farm
        self.folder = folder
        app = create_app(farm.database, folder, lambda: farm.now)
        self.http = TestClient(app, raise_server_exceptions=False)

    def text(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return " ".join(answer.text.split())

    def finish(self, lease: Lease, outcome: Outcome, verdict: Verdict | None = None, **result: Any) -> None:
        arguments = (lease.id, lease.fencing, outcome, result.pop("reason", ""), self.farm.now, self.farm.terms)
        self.farm.run(leases.finish, *arguments, digest=str(lease.id), **result)
        if verdict is not None:
            self.farm.run(verdicts.store, lease.job.id, verdict, self.farm.now)


@pytest.fixture
def site(filled: Any, tmp_path: Path) -> Site:
    return Site(filled, tmp_path)


@pytest.fixture
def small_site(filled_sqlite: Any, tmp_path: Path) -> Site:
    """For what is not about SQL."""
    return Site(filled_sqlite, tmp_path)


def test_a_job_is_followed_from_waiting_to_its_verdict(site: Site) -> None:
    (job,) = site.farm.revision("hello").jobs
    assert "hello has no verdict yet" in site.text("/") and "1 waiting for a test node" in site.text("/")
    assert "No test node is connected." in site.text(f"/jobs/{job}")
    lease = site.farm.claim()
    site.farm.run(leases.set_steps, lease.id, lease.fencing, (Step("build", site.farm.now),))
    assert "1 job running" in site.text("/") and "Running: build" in site.text(f"/jobs/{job}")
    assert '<a class="nowrap" href="/jobs/1">hello</a>' in site.text("/nodes")
    site.farm.now += 90
    cases = (TestCase("suite", "test_it", CaseOutcome.PASSED, 0.5),)
    steps = (Step("build", site.farm.now - 90, site.farm.now - 10, Outcome.PASSED), Step("tests", site.farm.now - 10))
    site.finish(lease, Outcome.PASSED, Verdict("passed", Colour.GREEN, "1 test case passed"), cases=cases, steps=steps)
    assert "hello is green" in site.text("/")
    page = site.text(f"/jobs/{job}")
    assert "1 min 30 s" in page and "test_it" in page and "cut short" in page
    assert [site.http.get(path).status_code for path in PAGES] == [200] * len(PAGES)


def test_a_job_says_why_it_waits(small_site: Site) -> None:
    small_site.farm.revision("first", "second", platform="linux-x86_64")
    page = "/jobs/2"
    lease = small_site.farm.claim()
    assert "The one test node that fits is busy." in small_site.text(page)
    small_site.finish(lease, Outcome.PASSED)
    assert "A test node is free: it should start at once." in small_site.text(page)
    (other,) = small_site.farm.revision("third", platform="riscv").jobs
    assert "No connected test node has the platform riscv, only linux-x86_64." in small_site.text(f"/jobs/{other}")


def test_a_lost_attempt_is_shown_and_the_job_waits_again(small_site: Site) -> None:
    small_site.farm.revision("hello")
    small_site.farm.claim()
    small_site.farm.now += 10_000
    small_site.farm.run(leases.expire, small_site.farm.now, small_site.farm.terms)
    page = small_site.text("/jobs/1")
    assert "Waiting for another test node" in page and "fell silent" in page and "lost" in page


@pytest.mark.parametrize(
    ("outcome", "verdict", "shown"),
    [
        (Outcome.TIMED_OUT, Verdict("timed-out", Colour.RED, "did not end in 60 s"), ("Timed out", "hello is red")),
        (Outcome.CANCELLED, Verdict("inconclusive", Colour.GREY, "cancelled"), ("Inconclusive", "no verdict yet")),
        (Outcome.FAILED, Verdict("slower-than-ever", Colour.RED), ("Slower than ever", "hello is red")),
        (Outcome.FAILED, None, ("Failed", "no verdict yet")),
    ],
)
def test_every_end_of_a_job_is_shown(
    small_site: Site, outcome: Outcome, verdict: Verdict | None, shown: tuple[str, str]
) -> None:
    small_site.farm.revision("hello")
    lease = small_site.farm.claim()
    small_site.finish(lease, outcome, verdict, reason="it took too long")
    assert shown[0] in small_site.text("/jobs/1")
    assert shown[1] in small_site.text("/")


def test_a_cancelled_job_says_so_before_and_after(small_site: Site) -> None:
    small_site.farm.revision("hello", "other")
    small_site.farm.claim()
    for job in (1, 2):
        small_site.farm.run(jobs.cancel, job, small_site.farm.now)
    assert "It was cancelled: the test node is told at its next heartbeat." in small_site.text("/jobs/1")
    assert "Cancelled" in small_site.text("/jobs/2")


def test_a_red_release_is_traced_to_the_first_red_revision(site: Site) -> None:
    since = ""
    for number, colour in enumerate((Colour.GREEN, Colour.RED, Colour.RED)):
        revision = site.farm.revision("hello").revision
        since = revision.commit if number < 2 else since
        lease = site.farm.claim()
        name = ("passed", "new-failure", "still-failing")[number]
        site.finish(lease, Outcome.FAILED, Verdict(name, colour, "1 of 2 test cases failed", since))
    assert f'red since <a class="mono" href="/revisions/{since}">' in site.text("/")
    page = site.text("/jobs/3")
    assert f'Red since <a class="mono" href="/revisions/{since}">' in page
    assert 'Last green at <a class="mono" href="/jobs/1">' in page


def test_a_kept_page_is_made_anew_after_an_event_and_after_its_time(small_site: Site) -> None:
    small_site.farm.revision("hello")
    before = small_site.text("/")
    assert small_site.text("/") == before
    small_site.farm.revision("hello", "another")
    assert "another" in small_site.text("/")
    with small_site.farm.database.write() as connection:  # what an event did not announce shows a little later
        connection.execute(sa.text("update projects set branch = 'trunk'"))
    assert "trunk of /repository" not in small_site.text("/")
    small_site.farm.now += 2.1
    assert "trunk of /repository" in small_site.text("/")


def test_a_repository_that_does_not_answer_is_told_without_its_password(small_site: Site) -> None:
    url = "https://ada:pass-word@example.org/x.git"
    project = small_site.farm.run(projects.ensure, "main", url, "", small_site.farm.now).id
    problem = f"fatal: unable to access '{url}': timed out <b>"
    small_site.farm.run(projects.note_poll, project, small_site.farm.now, problem)
    page = small_site.text("/")
    assert "The branch can't be followed now" in page
    assert "https://example.org/x.git&#39;: timed out &lt;b&gt;" in page
    assert "pass-word" not in page + small_site.text("/api/v1/projects")


def test_a_log_outside_the_farms_folder_is_never_read(small_site: Site, tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    secret.write_text("not for visitors")
    small_site.farm.revision("hello")
    small_site.farm.claim()
    for path in (f"../{secret.name}", str(secret)):
        with small_site.farm.database.write() as connection:
            connection.execute(sa.update(attempts).values(log=path))
        assert "not for visitors" not in small_site.text("/jobs/1")
        assert small_site.http.get("/api/v1/jobs/1/log").content == b""


def test_nothing_that_is_sent_to_the_api_is_a_server_error(site: Site) -> None:
    site.farm.revision("hello")
    site.farm.claim()
    schema = schemathesis.openapi.from_dict(site.http.get("/api/v1/openapi.json").json())
    schema = schema.exclude(path_regex="/live$")  # it goes on while the attempt does
    failed: list[str] = []

    def send(case: Any) -> None:
        whole = case.as_transport_kwargs(base_url="http://testserver")
        answer = site.http.request(whole["method"], whole["url"], params=whole.get("params"))
        if answer.status_code >= 500:
            failed.append(f"{case.method} {case.path} {whole.get('params')} {answer.text}")

    bounded = settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in schema.get_all_operations():
        bounded(given(case=result.ok().as_strategy())(send))()
    assert not failed, failed[:3]


def test_a_kept_list_is_read_again_after_an_event(small_site: Site) -> None:
    small_site.farm.revision("hello")
    address = "/api/v1/jobs"
    first = small_site.http.get(address)
    with small_site.farm.database.write() as connection:  # no event: what is kept is not read again
        connection.execute(sa.text("update jobs set profile = 'changed'"))
    assert small_site.http.get(address).content == first.content
    tag = {"If-None-Match": first.headers["etag"]}
    again = small_site.http.get(address, headers=tag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert "content-security-policy" in again.headers
    small_site.farm.run(jobs.cancel, 1, small_site.farm.now)
    assert small_site.http.get(address, headers=tag).status_code == 200
