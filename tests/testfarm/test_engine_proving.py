# SPDX-License-Identifier: Apache-2.0
"""A real engine decides from commits alone what is to be run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from allotment.messages.job import JobState, Outcome
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import attempts, jobs, nodes, projects, revisions
from allotment_testfarm.wire import JobResult, NodeHello

pytestmark = pytest.mark.timeout(300)
RELEASES = ("nginx", "static-site", "redis")


class Commits:
    """A repository of three releases, the farm over it, and what the farm makes of each commit."""

    def __init__(self, farm: Any, repository: Any, eventually: Callable[..., Any]) -> None:
        self.farm = farm
        self.repository = repository
        self.eventually = eventually
        for name in ("pcre2", "nginx", "redis"):
            repository.put(f"components/{name}/buildout.cfg", f"[{name}]\nversion = 1\n")
        repository.put(
            "components/nginx/buildout.cfg", "[buildout]\nextends = ../pcre2/buildout.cfg\n[nginx]\nversion = 1\n"
        )
        for release, component in zip(RELEASES, ("nginx", "nginx", "redis"), strict=True):
            text = f"[buildout]\nextends = ../../components/{component}/buildout.cfg\n"
            repository.put(f"software/{release}/software.cfg", text)
        repository.commit("the first")
        self.wire = farm.wire(farm.start()["url"])
        self.hello()
        self.database = Database(sqlite_url(str(farm.folder / "farm.sqlite")))

    def hello(self, python: str = "3.11.2") -> None:
        hello = NodeHello("n1", "linux-x86_64", environment={"python": python})
        assert self.wire.post("nodes", hello).status_code == 200

    def read(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        with self.database.read() as connection:
            return call(connection, *arguments, **keywords)

    def jobs(self) -> dict[str, Any]:
        """The newest commit's jobs by release, once the engine has seen it."""
        head = self.repository.git("rev-parse", "HEAD")

        def found() -> Any:
            project = self.read(projects.get, "main")
            return project and self.read(revisions.get, project.id, head) and self.read(jobs.page, revision=head)

        return {job.release: job for job in self.eventually(found)}

    def run(self, *outcomes: Outcome) -> list[str]:
        """Run as many jobs as outcomes are given; return their releases."""
        ran = []
        for outcome in outcomes:
            lease = self.wire.take(60)
            result = JobResult(lease["fencing"], outcome, "no reason")
            assert self.wire.result(lease["id"], result).status_code == 204
            ran.append(lease["job"]["release"])
        return ran

    def commit(self, path: str, text: str = "[x]\nversion = 2\n") -> set[str]:
        """Commit a file; return the releases whose jobs are to be run."""
        self.repository.put(path, text)
        self.repository.commit(path)
        return {name for name, job in self.jobs().items() if job.state is JobState.WAITING}


@pytest.fixture
def commits(farm: Any, repository: Any, eventually: Callable[..., Any]) -> Iterator[Commits]:
    made = Commits(farm, repository, eventually)
    yield made
    made.database.close()


def test_only_what_a_commit_changes_is_run(commits: Commits) -> None:
    first = commits.jobs()
    assert set(commits.run(*[Outcome.PASSED] * 3)) == set(RELEASES)
    assert commits.commit("docs/index.md") == set()
    docs = commits.jobs()
    assert {name: job.proved_by for name, job in docs.items()} == {name: job.id for name, job in first.items()}
    assert {job.verdict.name for job in docs.values()} == {"passed"}
    assert "3 jobs, 3 proved before" in commits.farm.log.read_text()

    assert commits.commit("software/static-site/instance.cfg.in") == {"static-site"}
    detail = commits.read(attempts.detail, commits.jobs()["static-site"].id)
    assert detail.changes.job == docs["static-site"].id
    assert [(change.name, change.before) for change in detail.changes.files] == [
        ("software/static-site/instance.cfg.in", None)
    ]
    assert commits.run(Outcome.FAILED) == ["static-site"]
    assert commits.commit("README.md") == set()
    red = commits.jobs()["static-site"]
    assert (red.verdict.name, red.proved_by) == ("still-failing", detail.job.id)

    assert commits.commit("components/pcre2/buildout.cfg") == {"nginx", "static-site"}
    assert set(commits.run(Outcome.PASSED, Outcome.PASSED)) == {"nginx", "static-site"}
    assert commits.commit("components/redis/fix.patch") == {"redis"}


def test_jobs_that_wait_end_with_the_one_that_proves_them(commits: Commits) -> None:
    commits.jobs()
    assert commits.commit("docs/index.md") == set(RELEASES)  # nothing has run yet
    assert len(commits.run(*[Outcome.PASSED] * 3)) == 3
    assert {job.state for job in commits.jobs().values()} == {JobState.DONE}
    assert commits.wire.lease(0.1).status_code == 204


def test_a_test_node_with_other_versions_runs_all_again(commits: Commits) -> None:
    commits.jobs()
    commits.run(*[Outcome.PASSED] * 3)
    commits.hello("3.13.5")
    assert commits.commit("docs/index.md") == set(RELEASES)
    lease = commits.wire.take(60)
    (change,) = commits.read(attempts.detail, lease["job"]["id"]).changes.environment
    assert (change.name, change.before, change.after) == ("python", "3.11.2", "3.13.5")
    assert lease["job"]["input_hash"] is not None
    commits.hello()  # a test node that has what has proved the others
    left = {name for name, job in commits.jobs().items() if job.state is not JobState.DONE}
    assert left == {lease["job"]["release"]}
    assert commits.read(nodes.all_nodes, 0.0)[0].name == "n1"
