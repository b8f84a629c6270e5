# SPDX-License-Identifier: Apache-2.0
"""Request bodies that are messages: read strictly by the core's codec, and described in the OpenAPI document."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from allotment.codec import loads, nesting, schema
from allotment.errors import MessageError

T = TypeVar("T")
_REFERENCE = "#/components/schemas/"
DEPTH = 64  # of lists and objects: far below what parsing, validating and storing can follow
_described: dict[str, type] = {}  # the messages that routes name, by the name of their component


def body_of(cls: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Return a dependency that gives the request's body as ``cls``."""

    async def read(request: Request) -> T:
        data = await request.body()
        if b"\\u0000" in data:
            raise MessageError(f"{cls.__name__} holds a NUL character", "Leave it out")  # no text column takes it
        if data.count(b"[") + data.count(b"{") > DEPTH and nesting(data) > DEPTH:  # most bodies have few
            raise MessageError(f"{cls.__name__} is nested more than {DEPTH} deep", "Write it flatter")
        return loads(cls, data)

    return read


def described(cls: type) -> dict[str, Any]:
    """Return a route's ``openapi_extra`` with the schema of a body; :func:`publish_openapi` collects them."""
    _described[cls.__name__] = cls
    content = {"application/json": {"schema": {"$ref": _REFERENCE + cls.__name__}}}
    return {"requestBody": {"required": True, "content": content}}


def publish_openapi(app: FastAPI) -> None:
    """Make ``app`` describe the messages of its routes as components of its OpenAPI document."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, routes=app.routes)
            components = document.setdefault("components", {}).setdefault("schemas", {})
            for cls in _described.values():
                components.update(_components(cls))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # FastAPI documents this as the way


def _components(cls: type) -> dict[str, Any]:
    document = schema(cls)
    document.pop("$schema")
    definitions = document.pop("$defs", {})
    return {name: _relocate(item) for name, item in {cls.__name__: document, **definitions}.items()}


def _relocate(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", _REFERENCE) if key == "$ref" and isinstance(item, str) else _relocate(item)
            for key, item in value.items()
        }
    return [_relocate(item) for item in value] if isinstance(value, list) else value
