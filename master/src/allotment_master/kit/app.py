# SPDX-License-Identifier: Apache-2.0
"""The application that both web programs start from: errors, limits and headers in place, nothing served yet."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp

from allotment_master.kit.body import publish_openapi
from allotment_master.kit.database import CONNECTIONS
from allotment_master.kit.errors import ErrorPage, answer_errors
from allotment_master.kit.identity import Identities
from allotment_master.kit.limits import Limits
from allotment_master.kit.wakeup import Wakeup


class App(FastAPI):
    """FastAPI with the kit's outermost layer, through which the answers to bugs go as well."""

    def __init__(
        self,
        title: str,
        identities: Identities,
        *,
        wakeup: Wakeup | None = None,
        error_page: ErrorPage | None = None,
        limit_of: Callable[[str], int | None] = lambda _: None,
        threads: int = CONNECTIONS,
    ) -> None:
        """``threads``: as many handlers run side by side; no more than the database has connections."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            to_thread.current_default_thread_limiter().total_tokens = threads
            yield

        options: dict[str, Any] = {"docs_url": None, "redoc_url": None}  # these pages load scripts from elsewhere
        super().__init__(title=title, openapi_url="/api/v1/openapi.json", lifespan=lifespan, **options)
        self.wakeup = wakeup or Wakeup()
        self.allowed_host: Callable[[str], bool] = lambda _: True  # serve() narrows it
        self._limit_of = limit_of
        self.state.identities = identities
        answer_errors(self, error_page)
        publish_openapi(self)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the limits around everything."""
        return Limits(super().build_middleware_stack(), self._limit_of, lambda host: self.allowed_host(host))
