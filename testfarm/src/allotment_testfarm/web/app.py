# SPDX-License-Identifier: Apache-2.0
"""The web tier's application: the kit's, with this farm's pages, API and binary cache. Only the last is written to."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp

from allotment import __version__
from allotment.secret import Secret
from allotment.terminal import ago, duration
from allotment_master.kit.app import App
from allotment_master.kit.database import Database
from allotment_master.kit.identity import Identity
from allotment_master.kit.pages import Pages, serve_static
from allotment_testfarm.db import events
from allotment_testfarm.web import look
from allotment_testfarm.web.kept import Kept, Version
from allotment_testfarm.web.strips import Strips

PACKAGE = "allotment_testfarm"


@dataclass(frozen=True)
class Farm:
    """What handlers read from: ``app.state.farm``."""

    database: Database
    folder: Path  # logs are below it
    clock: Callable[[], float]
    pages: Pages
    strips: Strips


class _NoIdentities:
    """Nobody has to say who he is: there is nothing here that only some may do."""

    def identify(self, token: Secret) -> Identity | None:
        return None


def create_app(
    database: Database, folder: Path, clock: Callable[[], float] = time.time, cache: ASGIApp | None = None
) -> App:
    """Return the application; ``clock`` gives UTC epoch seconds, ``cache`` is the binary cache."""
    from allotment_testfarm.web import api, log_routes, pages, reproduction
    from allotment_testfarm.web.cache import PLACE, limit_of

    kit = Pages(PACKAGE)
    kit.environment.filters.update(
        ago=ago,
        day=look.day,
        duration=duration,
        iso=look.iso,
        moment=look.moment,
        short=look.short,
        size=look.size,
    )
    kit.environment.globals.update(version=__version__, place="")
    for name in kit.environment.list_templates():
        kit.environment.get_template(name)  # compiled now, not while the first visitor waits

    def error_page(request: Request, status: int, what: str, fix: str) -> Response:
        return kit.render("error.html", status, what=what[:1].upper() + what[1:], fix=fix)

    app = App("Allotment test farm", _NoIdentities(), error_page=error_page, limit_of=limit_of)
    app.state.farm = Farm(database, folder, clock, kit, Strips(clock))

    def newest_event() -> int:
        with database.read() as connection:
            return events.newest(connection)

    app.add_middleware(Kept, version=Version(newest_event), clock=clock, past=f"{PLACE}/")
    app.include_router(pages.router)
    app.include_router(api.router)
    app.include_router(log_routes.router)
    app.include_router(reproduction.router)
    app.state.live_logs = log_routes.live_logs(database, app.wakeup)
    serve_static(app, PACKAGE)
    if cache is not None:
        app.mount(PLACE, cache)
    return app


def farm_of(request: Request) -> Farm:
    """Return what this request's handler reads from."""
    farm: Farm = request.app.state.farm
    return farm
