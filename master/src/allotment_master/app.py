# SPDX-License-Identifier: Apache-2.0
"""The master's application: the API and the page."""

from fastapi import Request
from fastapi.responses import Response

from allotment_master import home
from allotment_master.api import blobs, events, instances, nodes, releases, supplies, tokens
from allotment_master.kit.app import App
from allotment_master.kit.pages import Pages, serve_static
from allotment_master.master import Master

ROUTERS = (nodes, tokens, blobs, releases, supplies, instances, events)


def create_app(master: Master) -> App:
    """Return the application of a master."""
    pages = Pages("allotment_master")

    def error_page(_: Request, status: int, what: str, fix: str) -> Response:
        return pages.render("error.html", status, number=status, what=what, fix=fix)

    app = App(
        "Allotment master",
        master,
        wakeup=master.wakeup,
        error_page=error_page,
        limit_of=blobs.limit_of,
        threads=master.database.connections,
    )
    app.state.master = master
    app.state.pages = pages
    for module in ROUTERS:
        app.include_router(module.router)
    app.include_router(home.router)
    serve_static(app, "allotment_master")
    return app
