# SPDX-License-Identifier: Apache-2.0
"""Errors as HTTP answers: ``{"error": "...", "fix": "..."}`` for programs, a page for people."""

import logging
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from allotment.errors import AllotmentError, MessageError

ErrorPage = Callable[[Request, int, str, str], Response]  # request, status, what, fix
_log = logging.getLogger(__name__)


class HttpError(AllotmentError):
    """An error with the HTTP status that says it, and headers that go with that status."""

    status = 400
    headers: Mapping[str, str] = MappingProxyType({})


class UnauthorizedError(HttpError):
    """No token, or one that is not known."""

    status = 401


class ForbiddenError(HttpError):
    """The caller is known and may not do this."""

    status = 403


class NotFoundError(HttpError):
    """What the URL names does not exist."""

    status = 404


class ConflictError(HttpError):
    """The request is right by itself but not in the present state."""

    status = 409


class TooLargeError(HttpError):
    """The body is larger than this address accepts."""

    status = 413


class InvalidError(HttpError):
    """The body is readable, but a value in it is not acceptable."""

    status = 422


def answer_errors(app: FastAPI, page: ErrorPage | None = None) -> None:
    """Make ``app`` answer every error; ``page`` renders those of addresses outside ``/api``, JSON without it."""

    def respond(request: Request, status: int, what: str, fix: str = "") -> Response:
        if page is not None and not request.url.path.startswith("/api/"):
            return page(request, status, what, fix)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"error": what, "fix": fix}, status, headers)

    @app.exception_handler(AllotmentError)
    async def known(request: Request, error: AllotmentError) -> Response:
        status = error.status if isinstance(error, HttpError) else 422 if isinstance(error, MessageError) else 400
        answer = respond(request, status, error.what, error.fix)
        if isinstance(error, HttpError):
            answer.headers.update(error.headers)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place, *names = (str(item) for item in first["loc"])
        return respond(request, 422, f"{place} {'.'.join(names)}: {first['msg']}", "Correct it")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        answer = respond(request, error.status_code, f"{request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    async def unavailable(request: Request, error: Exception) -> Response:
        _log.error("%s %s: the database failed: %s", request.method, request.url.path, error)
        answer = respond(request, 503, "the database does not answer now", "Try again")
        answer.headers["Retry-After"] = "2"
        return answer

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        number = secrets.token_hex(4)
        # The server logs the traceback: what is raised here goes on to it after the answer.
        _log.error("error %s in %s %s: %s", number, request.method, request.url.path, type(error).__name__)
        return respond(request, 500, f"this is a bug; the log has it as error {number}", "Report it")
