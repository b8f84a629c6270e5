# SPDX-License-Identifier: Apache-2.0
"""A binary cache over HTTP: everybody may read, whoever has the token may add what an accepted key has signed.

An upload begins with the signed entry, so that nothing is taken of what nobody would trust; the bytes follow in pieces,
each where the one before it ended, whenever that was. The entry is there when the last byte is, and never changes.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import IO, Annotated, Any, Final

from fastapi import Body, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from allotment import __version__
from allotment.atomic import write_bytes
from allotment.codec import dumps
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.binary_cache import SignedPackedPart
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import BinaryCache, keeps
from allotment_recipes.binary_cache.folder import PART
from allotment_recipes.binary_cache.http import API, MOST_PARTS
from allotment_recipes.signing import SignatureError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
PIECE: Final = 16 << 20  # bytes of one request of an upload
_WRITTEN: Final = 1 << 20  # bytes that are written at once
_ABANDONED: Final = 86400.0  # seconds until an upload that nobody goes on with is removed


@dataclass(frozen=True)
class Settings:
    """What a served cache is made of."""

    cache: BinaryCache  # where the parts are kept
    uploads: Path  # folder for what has not come whole yet
    token: str  # that an upload needs; empty: nobody may add
    keys: Callable[[], tuple[str, ...]]  # those whose parts are accepted; asked for each upload
    patience: float = 60.0  # seconds without a byte, after which others may go on with an upload
    check_room: Callable[[int], None] = lambda size: None  # raises where so many bytes must not be written now


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it can be mounted in another one."""
    app = FastAPI(title="Allotment binary cache", version=__version__, docs_url=None, redoc_url=None)
    uploads = _Uploads(settings)

    _tell_errors(app)

    @app.get("/health")
    def health() -> dict[str, Any]:
        settings.cache.names("", 1)
        return {"format": 1, "status": "ok", "version": __version__, "takes_uploads": bool(settings.token)}

    @app.get(f"{API}/entries")
    def names(after: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        found = list(settings.cache.names(after, limit))
        return {"parts": found, "next": found[-1] if len(found) == limit else None}

    @app.post(f"{API}/lookup")
    def look_up(parts: Annotated[list[str], Body(embed=True, max_length=MOST_PARTS)]) -> Response:
        found = settings.cache.entries([part for part in parts if PART.fullmatch(part)])
        inner = b",".join(b'"%b":%b' % (part.encode(), data) for part, data in found.items() if _is_json(data))
        return Response(b'{"entries":{%b}}' % inner, media_type="application/json")

    @app.api_route(f"{API}/entries/{{part}}", methods=["GET", "HEAD"])
    def one(part: str) -> Response:
        data = settings.cache.entries([part]).get(part)
        if data is None:
            raise RefusedError(f"{part} is not here", status=404)
        return Response(data, media_type="application/json")

    @app.api_route(f"{API}/archives/{{sha256}}", methods=["GET", "HEAD"])
    def archive(request: Request, sha256: str) -> Response:
        size = settings.cache.size(sha256) if _SHA256.fullmatch(sha256) else None
        if size is None:
            raise RefusedError(f"{sha256} is not here", status=404)
        return _answer(request, settings.cache, sha256, size)

    @app.put(f"{API}/entries/{{part}}")
    async def begin(request: Request, part: str) -> dict[str, Any]:
        _admit(request, settings.token)
        body = await _small_body(request)
        return await run_in_threadpool(uploads.begin, part, body)

    @app.put(f"{API}/uploads/{{sha256}}")
    async def go_on(request: Request, sha256: str) -> dict[str, Any]:
        _admit(request, settings.token)
        return await uploads.take(sha256, request)

    return app


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(AllotmentError)
    async def tell(request: Request, error: AllotmentError) -> Response:
        status = error.status if isinstance(error, RefusedError) else 400
        status = 503 if isinstance(error, UnreachableError) else 403 if isinstance(error, SignatureError) else status
        return JSONResponse({"error": error.what, "fix": error.fix}, status)

    @app.exception_handler(OSError)
    async def tell_disk(request: Request, error: OSError) -> Response:
        return JSONResponse({"error": f"the cache's disk: {error.strerror}", "fix": "Try again later"}, 507)

    @app.exception_handler(ClientDisconnect)
    async def forget(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody hears it; else it would be a traceback in the log


def _answer(request: Request, cache: BinaryCache, sha256: str, size: int) -> Response:
    """Return an archive, or the range of it that is asked for."""
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{sha256}"', "Cache-Control": "public, max-age=31536000, immutable"}
    start, end, status = 0, size, 200
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match and (match[1] or match[2]):
        start = int(match[1]) if match[1] else max(0, size - int(match[2]))
        end = min(size, int(match[2]) + 1) if match[1] and match[2] else size
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/zstd")
    return StreamingResponse(cache.read(sha256, start, end), status, headers, "application/zstd")


def _is_json(data: bytes) -> bool:
    """Tell whether an entry can be part of an answer; a damaged one would spoil those of all other parts."""
    try:
        json.loads(data)
        return True
    except (ValueError, RecursionError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Tell whether an open file still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _admit(request: Request, token: str) -> None:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if not token or kind.lower() != "bearer" or not secrets.compare_digest(given.encode(), token.encode()):
        raise RefusedError("adding a part needs this cache's token", "Give it by --token-file", 401)


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > entry.LIMIT:
            raise RefusedError(f"an entry has at most {entry.LIMIT} bytes", status=413)
    return body


class _Uploads:
    """What has not come whole yet: ``<sha256>.json``, the entry, and ``<sha256>.part``, the bytes so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.uploads

    def begin(self, part: str, body: bytes) -> dict[str, Any]:
        """Say how much of a part's archive is here; all of it: the part is kept now."""
        signed = entry.read(body, part)
        packed = signed.packed
        if packed.part != part or not PART.fullmatch(part) or not _SHA256.fullmatch(packed.archive.sha256):
            raise RefusedError(f"the entry is that of {packed.part}", status=422)
        entry.check_signature(signed, self._settings.keys(), "this cache")
        kept = self._settings.cache.entries([part]).get(part)
        if kept is not None and keeps(self._settings.cache, part, kept):
            return {"done": True, "new": False, "same": entry.archive_of(kept, part) == packed.archive}
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        sha256 = packed.archive.sha256
        with self._locked(sha256) as file:
            if file is None:
                return {"offset": 0, "busy": True}
            if self._settings.cache.size(sha256) == packed.archive.size:  # of another part, or its entry was lost
                return {"done": True, "new": self._settings.cache.add(signed, Path(), lambda size: None)}
            offset = file.seek(0, 2)
            self._settings.check_room(2 * packed.archive.size - offset)  # when it is whole it is copied
            write_bytes(self._path(sha256, "json"), dumps(signed))
            return {"offset": offset}

    async def take(self, sha256: str, request: Request) -> dict[str, Any]:
        """Append a piece; the last one completes the part."""
        match = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        path = self._path(sha256, "json")
        data = _read(path) if _SHA256.fullmatch(sha256) else b""
        if not data:
            raise RefusedError("there is no entry for this upload", "Send the entry first", 409)
        if match is None:
            raise RefusedError("Content-Range is missing", "Write it like: bytes 0-99/1000", 411)
        signed = entry.read(data, sha256)
        start, end, total = int(match[1]), int(match[2]) + 1, int(match[3])
        if total != signed.packed.archive.size or not start < end <= total:
            raise RefusedError(f"Content-Range is not of {signed.packed.archive.size} bytes", status=422)
        if end - start > PIECE:
            raise RefusedError(f"a piece has at most {PIECE} bytes", status=413)
        with self._locked(sha256) as file:
            if file is None or file.seek(0, 2) != start or not path.exists():  # another one may have completed it
                raise RefusedError("other bytes are expected here", "Ask for the offset", 409)
            try:
                await self._append(request, file, end - start)
                if end < total:
                    return {"offset": end}
                return await run_in_threadpool(self._finish, signed, file)
            except RefusedError:
                file.truncate(start)  # a lost connection is no such error: what has come then is kept
                raise
            except OSError:
                self._path(sha256, "part").unlink(missing_ok=True)  # it would keep the full disk full
                path.unlink(missing_ok=True)
                raise

    async def _append(self, request: Request, file: IO[bytes], left: int) -> None:
        block = b""
        stream = aiter(request.stream())
        while chunk := await self._next(stream):
            left -= len(chunk)
            if left < 0:
                raise RefusedError("there are more bytes than Content-Range says", status=413)
            block += chunk
            if len(block) >= _WRITTEN:
                await run_in_threadpool(file.write, block)
                block = b""
        await run_in_threadpool(file.write, block)
        await run_in_threadpool(file.flush)
        if left:
            raise RefusedError("there are fewer bytes than Content-Range says", status=422)

    async def _next(self, stream: AsyncIterator[bytes]) -> bytes:
        """Return what comes next; of a client that is gone without a word nobody would hear otherwise."""
        try:
            return await asyncio.wait_for(anext(stream, b""), self._settings.patience)
        except TimeoutError as error:
            raise UnreachableError("nothing more has come of this upload", "Push again: it goes on") from error

    def _finish(self, signed: SignedPackedPart, file: BufferedRandom) -> dict[str, Any]:
        wanted = signed.packed.archive
        path = self._path(wanted.sha256, "part")
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted.sha256:
            path.unlink()
            raise RefusedError(f"the sha256 is {found}, and {wanted.sha256} was signed", "Send it again", 422)
        is_new = self._settings.cache.add(signed, path, lambda size: None)
        path.unlink()
        self._path(wanted.sha256, "json").unlink(missing_ok=True)
        return {"done": True, "new": is_new}

    @contextlib.contextmanager
    def _locked(self, sha256: str) -> Iterator[BufferedRandom | None]:
        """Give the bytes so far, to be appended to; None when somebody else does that now."""
        path = self._path(sha256, "part")
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            try:
                yield file if _is_at(path, file) else None  # whoever had it has completed it
            finally:
                if not os.fstat(file.fileno()).st_size and _is_at(path, file):
                    path.unlink()  # nothing has come, and perhaps nothing will

    def _path(self, sha256: str, suffix: str) -> Path:
        return self._folder / f"{sha256}.{suffix}"

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
