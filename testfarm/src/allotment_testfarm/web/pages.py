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
from allotment_master.kit.listing import tagged
from allotment_testfarm.db import logs, projects
from allotment_testfarm.db.projects import Project
from allotment_testfarm.web import fleet, job, log_view, names, parameters, queue, results, revision
from allotment_testfarm.web import release as history
from allotment_testfarm.web.app import Farm, farm_of
from allotment_testfarm.web.kept import MOVING, STILL, keep

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
    with farm.database.read() as connection:
        everything = projects.all_projects(connection)
        if not everything and not project:
            return _page(request, farm, "welcome.html", place="results")
        chosen = choose_project(connection, project)
        found = results.results(connection, chosen, revisions, before, farm.strips)
    keep(request, MOVING if found.summary.is_moving else STILL)
    return _page(
        request,
        farm,
        "results.html",
        place="results",
        project=public(chosen),
        others=[item for item in everything if item.id != chosen.id],
        found=found,
        **_links(chosen.name, revisions, before, found.older),
    )


@_page_at("/jobs/{number}")
def show_job(
    request: Request,
    number: parameters.Number,
    attempt: parameters.Try = None,
    line: parameters.Line = None,
    lines: bool = True,
) -> Response:
    """One job: verdict, test cases, steps, log; without the log's ``lines`` for who follows them by themselves."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = job.read(connection, number, attempt, farm.clock())
        log = logs.find(connection, number, attempt)
    if context is None:
        which = f"job {number}" if attempt is None else f"attempt {attempt} of job {number}"
        raise NotFoundError(f"there is no {which}", "Look for it among the results")
    shown = log_view.show(log, farm.folder, line, with_lines=lines)
    return _page(request, farm, "job.html", log=shown, url=_address(request), **context)


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
    keep(request, MOVING if context["is_moving"] else STILL)
    return _page(request, farm, "revision.html", **context)


@_page_at("/releases/{release}")
def show_release(
    request: Request,
    release: parameters.Release,
    project: parameters.Project = "",
    kind: parameters.Kind = names.USUAL_KIND,
    platform: parameters.Platform = names.USUAL_PLATFORM,
    before: parameters.Before = None,
) -> Response:
    """One release over time."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        chosen = choose_project(connection, project)
        context = history.read(connection, chosen, (release, kind, platform), before)
    if context is None:
        raise NotFoundError(f"there are no jobs of the release '{release}'", "Look for it among the results")
    keep(request, MOVING if context["is_moving"] else STILL)
    return _page(request, farm, "release.html", project=chosen, **context)


@_page_at("/queue")
def show_queue(request: Request) -> Response:
    """What runs and what waits."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = queue.read(connection, farm.clock())
    keep(request, MOVING)
    return _page(request, farm, "queue.html", place="queue", **context)


@_page_at("/nodes")
def show_nodes(request: Request) -> Response:
    """The test nodes."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        context = fleet.read(connection, farm.clock())
    keep(request, MOVING)
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
    html = farm.pages.text(template, now=farm.clock(), **context).encode()
    return tagged(request, html, "text/html; charset=utf-8")


def _address(request: Request) -> str:
    """Return the address of this page as others reach it, without a query."""
    return str(request.url.replace(query=""))


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
