# SPDX-License-Identifier: Apache-2.0
"""The pages: each complete without a script, compressed, and not sent again when nothing changed."""

import dataclasses
import functools
import re
import urllib.parse
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from allotment_master.kit.errors import NotFoundError
from allotment_testfarm.db import events, projects
from allotment_testfarm.db.projects import Project
from allotment_testfarm.web import fleet, job, logs, parameters, results, revision
from allotment_testfarm.web.app import Farm, farm_of
from allotment_testfarm.web.rendered import Rendered

WINDOW = 30  # revisions on a page, unless more are asked for
MANY = 100
_CREDENTIALS = re.compile(r"://[^/\s'\"]*@")
router = APIRouter(include_in_schema=False)
_page_at = functools.partial(router.api_route, methods=["GET", "HEAD"])  # FastAPI adds no HEAD by itself


@_page_at("/")
def show_results(
    request: Request,
    project: parameters.Project = "",
    revisions: parameters.Window = WINDOW,
    before: parameters.Before = None,
) -> Response:
    """Releases x revisions."""
    farm = farm_of(request)
    key = project, revisions, before
    with farm.database.read() as connection:
        version = events.newest(connection)
        if (kept := farm.kept.get(key, version)) is not None:
            return kept.answer(request)
        everything = projects.all_projects(connection)
        if not everything and not project:
            return _page(request, farm, "welcome.html", place="results")
        chosen = choose_project(connection, project)
        found = results.results(connection, chosen.id, revisions, before)
    rendered = _render(
        farm,
        "results.html",
        place="results",
        project=public(chosen),
        others=[item for item in everything if item.id != chosen.id],
        found=found,
        **_links(chosen.name, revisions, before, found.older),
    )
    return farm.kept.put(key, version, rendered).answer(request)


@_page_at("/jobs/{number}")
def show_job(request: Request, number: parameters.Number, attempt: parameters.Try = None) -> Response:
    """One job: verdict, test cases, steps, log."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = job.read(connection, number, attempt, farm.clock())
    if context is None:
        which = f"job {number}" if attempt is None else f"attempt {attempt} of job {number}"
        raise NotFoundError(f"there is no {which}", "Look for it among the results")
    chosen = context["attempt"]
    path = job.log_path(farm.folder, chosen)
    log = logs.tail(path) if path else logs.LogTail((), 0, False)
    href = f"/api/v1/jobs/{number}/log" + (f"?attempt={chosen.number}" if chosen else "")
    return _page(request, farm, "job.html", log=log, log_href=href, **context)


@_page_at("/revisions/{commit}")
def show_revision(request: Request, commit: parameters.Commit) -> Response:
    """One revision: all its jobs."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = revision.read(connection, commit)
    if context is None:
        raise NotFoundError(
            f"there is no revision {commit}", "Give at least 7 digits of a commit that the farm has seen"
        )
    return _page(request, farm, "revision.html", **context)


@_page_at("/nodes")
def show_nodes(request: Request) -> Response:
    """The test nodes."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = fleet.read(connection, farm.clock())
    return _page(request, farm, "nodes.html", place="nodes", **context)


def choose_project(connection: sa.Connection, name: str) -> Project:
    """Return the project called ``name``, the first one when it is empty."""
    if name:
        chosen = projects.get(connection, name)
    else:
        chosen = next(iter(projects.all_projects(connection)), None)
    if chosen is None:
        raise NotFoundError(
            f"there is no project '{name}'" if name else "there is no project yet", "Look at /api/v1/projects"
        )
    return chosen


def _page(request: Request, farm: Farm, template: str, **context: Any) -> Response:
    return _render(farm, template, **context).answer(request)


def _render(farm: Farm, template: str, **context: Any) -> Rendered:
    return Rendered.of(farm.pages.text(template, now=farm.clock(), **context))


def _links(project: str, window: int, before: int | None, older: int | None) -> dict[str, str]:
    """Return the addresses of the pages beside this one, empty where there is none."""

    def address(**query: int) -> str:
        kept = {} if window == WINDOW else {"revisions": window}
        return "/?" + urllib.parse.urlencode({"project": project, **kept, **query})

    return {
        "newest_href": address() if before is not None else "",
        "older_href": address(before=older) if older is not None else "",
        "more_href": address(revisions=MANY) if older is not None and before is None and window < MANY else "",
    }


def without_password(text: str) -> str:
    """Return a repository's address, or a message that holds one, without users and passwords."""
    return _CREDENTIALS.sub("://", text)


def public(project: Project) -> Project:
    """Return a project as it may be shown."""
    repository, problem = without_password(project.repository), without_password(project.problem)
    return dataclasses.replace(project, repository=repository, problem=problem)
