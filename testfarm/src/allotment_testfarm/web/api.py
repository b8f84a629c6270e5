# SPDX-License-Identifier: Apache-2.0
"""The JSON API under /api/v1: everything that the pages show, in the same words; lists have pages and ETags."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from allotment.codec import Json, canonical, encode
from allotment.messages.job import JobState
from allotment_master.kit.errors import NotFoundError
from allotment_master.kit.listing import Limit, page_of, tagged
from allotment_testfarm.db import attempts, history, jobs, manifests, matrix, nodes, projects, queue, revisions
from allotment_testfarm.db.attempts import JobDetail
from allotment_testfarm.db.history import PastJob
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.matrix import Matrix, ReleaseStatus
from allotment_testfarm.db.nodes import TestNode
from allotment_testfarm.db.projects import Project
from allotment_testfarm.db.queue import Queue
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names, parameters, revision
from allotment_testfarm.web.app import farm_of
from allotment_testfarm.web.kept import MOVING, keep
from allotment_testfarm.web.pages import choose_project, public

T = TypeVar("T")
router = APIRouter(prefix="/api/v1")


@dataclass(frozen=True)
class ProjectList:
    """A page of projects."""

    items: tuple[Project, ...]
    next: str  # give it as `before` to get the next page; "" at the end


@dataclass(frozen=True)
class RevisionList:
    """A page of revisions, newest first."""

    items: tuple[Revision, ...]
    next: str


@dataclass(frozen=True)
class JobList:
    """A page of jobs, newest first."""

    items: tuple[JobSummary, ...]
    next: str


@dataclass(frozen=True)
class ReleaseList:
    """How the releases of the newest revision are."""

    items: tuple[ReleaseStatus, ...]
    next: str


@dataclass(frozen=True)
class PastJobList:
    """A page of a release's jobs, of the newest revision first."""

    items: tuple[PastJob, ...]
    next: str


@dataclass(frozen=True)
class NodeList:
    """The test nodes."""

    items: tuple[TestNode, ...]
    next: str


@dataclass(frozen=True)
class MatrixAnswer:
    """The results page as data: the state of each release now, and a window of revisions with their jobs."""

    project: str
    status: tuple[ReleaseStatus, ...]
    matrix: Matrix
    next: str


@router.get("/projects", response_model=ProjectList)
def list_projects(request: Request) -> Response:
    """Every project, by name."""
    with farm_of(request).database.read() as connection:
        found = projects.all_projects(connection)
    shown = [public(item) for item in found]
    return _page_of(request, shown, max(len(shown), 1), lambda item: item.name)


@router.get("/revisions", response_model=RevisionList)
def list_revisions(
    request: Request, project: parameters.Project = "", before: parameters.Before = None, limit: Limit = 50
) -> Response:
    """A project's revisions, newest first; ``before`` is a position."""
    with farm_of(request).database.read() as connection:
        chosen = choose_project(connection, project)
        found = revisions.page(connection, chosen.id, limit + 1, before)
    return _page_of(request, found, limit, lambda item: item.position)


@router.get("/revisions/{commit}", response_model=Revision)
def get_revision(request: Request, commit: parameters.Commit) -> Response:
    """One revision."""
    with farm_of(request).database.read() as connection:
        found = revision.find(connection, commit)
    if found is None:
        raise NotFoundError(
            f"there is no revision {commit}", "Give at least 7 digits of a commit that the farm has seen"
        )
    return _tagged(request, found[1])


@router.get("/jobs", response_model=JobList)
def list_jobs(
    request: Request,
    project: parameters.Text = None,
    revision: parameters.Text = None,
    release: parameters.Text = None,
    state: JobState | None = None,
    colour: Colour | None = None,
    before: parameters.Before = None,
    limit: Limit = 50,
) -> Response:
    """The jobs that match all that is given, newest first; ``revision`` is a full hash, ``before`` a job's id."""
    with farm_of(request).database.read() as connection:
        chosen = None if project is None else choose_project(connection, project).id
        found = jobs.page(
            connection,
            chosen,
            revision=revision,
            release=release,
            state=state,
            colour=colour,
            limit=limit + 1,
            before=before,
        )
    return _page_of(request, found, limit, lambda item: item.id)


@router.get("/jobs/{number}", response_model=JobDetail)
def get_job(request: Request, number: parameters.Number) -> Response:
    """One job with its revision, its attempts, and the test cases of the newest attempt."""
    with farm_of(request).database.read() as connection:
        found = attempts.detail(connection, number)
    if found is None:
        raise NotFoundError(f"there is no job {number}", "Look at /api/v1/jobs")
    return _tagged(request, found)


@router.get("/releases", response_model=ReleaseList)
def list_releases(request: Request, project: parameters.Project = "") -> Response:
    """How each release of the newest revision is."""
    with farm_of(request).database.read() as connection:
        found = matrix.status(connection, choose_project(connection, project).id)
    return _page_of(request, found, max(len(found), 1), lambda item: item.release)


@router.get("/releases/{release}", response_model=PastJobList)
def list_past_jobs(
    request: Request,
    release: parameters.Release,
    project: parameters.Project = "",
    kind: parameters.Kind = names.USUAL_KIND,
    platform: parameters.Platform = names.USUAL_PLATFORM,
    before: parameters.Before = None,
    limit: Limit = 50,
) -> Response:
    """A release over time: its jobs, of the newest revision first; ``before`` is a revision's position."""
    with farm_of(request).database.read() as connection:
        chosen = choose_project(connection, project)
        found = history.page(connection, chosen.id, (release, kind, platform), limit + 1, before)
    return _page_of(request, found, limit, lambda item: item.position)


@router.get("/queue", response_model=Queue)
def get_queue(request: Request) -> Response:
    """What runs and what waits, with the reasons."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        found = queue.read(connection, farm.clock())
    return _tagged(request, found)


@router.get("/nodes", response_model=NodeList)
def list_nodes(request: Request) -> Response:
    """Every test node, by name."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        found = nodes.all_nodes(connection, farm.clock())
    return _page_of(request, found, max(len(found), 1), lambda item: item.name)


@router.get("/matrix", response_model=MatrixAnswer)
def get_matrix(
    request: Request,
    project: parameters.Project = "",
    revisions: parameters.Window = 30,
    before: parameters.Before = None,
) -> Response:
    """Releases x revisions: a window of revisions, newest first, and how each release is now."""
    with farm_of(request).database.read() as connection:
        chosen = choose_project(connection, project)
        table = matrix.matrix(connection, chosen.id, revisions, before)
        status = matrix.status(connection, chosen.id)
    last = table.revisions[-1].position if table.revisions else 1
    following = str(last) if len(table.revisions) == revisions and last > 1 else ""
    return _tagged(request, MatrixAnswer(chosen.name, status, table, following))


@router.get("/manifests/{sha256}", response_model=Json)
def get_manifest(request: Request, sha256: parameters.Sha256) -> Response:
    """A signed manifest."""
    with farm_of(request).database.read() as connection:
        found = manifests.get(connection, sha256)
    if found is None:
        raise NotFoundError(f"there is no manifest {sha256}", "Only green jobs have one")
    return _tagged(request, found.signed)


def _page_of(request: Request, items: Sequence[T], limit: int, key: Callable[[T], object]) -> Response:
    keep(request, MOVING)
    return page_of(request, items, limit, key)


def _tagged(request: Request, value: Any) -> Response:
    keep(request, MOVING)
    return tagged(request, canonical(encode(value, redacted=True)), "application/json")
