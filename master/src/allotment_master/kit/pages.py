# SPDX-License-Identifier: Apache-2.0
"""HTML pages: Jinja2 with escaping always on and undefined names as errors, and the files that pages link to."""

from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from allotment import terminal
from allotment.terminal import ago

KIT = "allotment_master.kit"


class Pages:
    """Renders the templates in ``<package>/templates``, which may use the kit's own as ``kit/<name>``."""

    def __init__(self, package: str) -> None:
        self.environment = Environment(
            loader=ChoiceLoader([PackageLoader(package), PackageLoader(KIT)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(when=when, ago=ago)

    def render(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Return a page as an answer."""
        return HTMLResponse(self.text(template, **context), status, {"Cache-Control": "private, no-cache"})

    def text(self, template: str, **context: Any) -> str:
        """Return a page's HTML."""
        return self.environment.get_template(template).render(**context)


def serve_static(app: FastAPI, package: str) -> None:
    """Serve ``<package>/static`` under ``/static`` and the kit's files under ``/static/kit``."""
    app.mount("/static/kit", StaticFiles(directory=str(files(KIT) / "static")), name="kit-static")
    app.mount("/static", StaticFiles(directory=str(files(package) / "static")), name="static")


def when(moment: float | None) -> str:
    """Return a UTC epoch as ``2026-11-23 04:05:06 UTC``."""
    return "never" if moment is None else f"{terminal.when(moment)} UTC"
