# SPDX-License-Identifier: Apache-2.0
"""The logs under /api/v1/jobs/N/log: their bytes, their lines as HTML, and what is being written as it comes."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from allotment.codec import canonical
from allotment_master.kit.database import Database
from allotment_master.kit.errors import HttpError, NotFoundError
from allotment_master.kit.listing import tagged
from allotment_master.kit.wakeup import Wakeup
from allotment_testfarm.db import jobs, logs
from allotment_testfarm.db.logs import AttemptLog
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.web import log_lines, parameters
from allotment_testfarm.web.app import farm_of
from allotment_testfarm.web.log_live import LiveLogs
from allotment_testfarm.web.log_view import MORE, MORE_SIZE, file_of

router = APIRouter(prefix="/api/v1/jobs/{number}/log")
TEXT = "text/plain; charset=utf-8"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PLACE = re.compile(r"(\d{1,18})-\d{1,18}")


class RemovedError(HttpError):
    """The log was there once."""

    status = 410


class RangeError(HttpError):
    """The log has no such bytes; its size in bytes is told."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the log has {size} bytes", "Ask for a range that begins before its end")
        self.headers = {"Content-Range": f"bytes */{size}"}


@dataclass(frozen=True)
class LogLines:
    """Lines of a log, as they are shown: a pair of number and HTML each."""

    lines: tuple[tuple[int, str], ...]
    next: int  # the line that follows them; the last one again when it has not ended yet
    number: int  # of lines in the log
    size: int  # bytes of the log


def live_logs(database: Database, wakeup: Wakeup) -> LiveLogs:
    """Return what follows logs for all who read this farm's."""

    def ends(attempts: Collection[int]) -> dict[int, bool]:
        with database.read() as connection:
            return logs.ends(connection, attempts)

    return LiveLogs(wakeup, ends)


def find(connection: sa.Connection, number: int, attempt: int | None) -> AttemptLog | None:
    """Return an attempt's log; None when the job has no attempt. What is not there is an error."""
    found = logs.find(connection, number, attempt)
    if found is None:
        if jobs.get(connection, number) is None:
            raise NotFoundError(f"there is no job {number}", "Look at /api/v1/jobs")
        if attempt is not None:
            raise NotFoundError(f"there is no attempt {attempt} of job {number}", f"Look at /api/v1/jobs/{number}")
        return None
    if found.removed is not None:
        day = datetime.fromtimestamp(found.removed, UTC).date()
        raise RemovedError(
            f"the log of attempt {found.number} of job {number} was removed on {day}",
            "Its verdict and its test cases are kept; run the job again to see a log",
        )
    return found


@router.get("", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def get_log(
    request: Request,
    number: parameters.Number,
    attempt: parameters.Try = None,
    offset: parameters.Offset = 0,
    range_: Annotated[str, Header(alias="range", max_length=100)] = "",
) -> Response:
    """The log's bytes from ``offset``, or a range of them; the header Log-Size is the size at this moment.

    Ask for more from there, or follow /live. The whole of a log that has ended is sent as it is stored, packed with
    zstd, to who accepts that.
    """
    with Log(path := _path(request, number, attempt)) as log:
        size, packed = log.size, log.packed_size if log.is_packed else 0
    headers = {"Log-Size": str(size), "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    headers["Vary"] = "Accept-Encoding"
    start, end = offset, size
    if wanted := _range(range_, size):
        start, end = wanted
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if start >= end:
        return Response(b"", 200, headers, TEXT)
    if packed and not start and end == size and not wanted and _accepts_zstd(request):
        headers |= {"Content-Encoding": "zstd", "Content-Length": str(packed)}
        return StreamingResponse(_frames(path), 200, headers, TEXT)
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(_blocks(path, start, end), 206 if wanted else 200, headers, TEXT)


@router.get("/lines", response_model=LogLines)
def get_lines(
    request: Request,
    number: parameters.Number,
    attempt: parameters.Try = None,
    line: parameters.Line = None,
    count: Annotated[int, Query(ge=1, le=MORE, description="How many lines at most; fewer when they are long.")] = MORE,
) -> Response:
    """Lines as HTML: escaped, with terminal colours as classes."""
    with Log(_path(request, number, attempt)) as log:
        place = log_lines.place_of(log, min(line or 1, log.breaks + 1))
        lines, after = log_lines.read(log, place, count, MORE_SIZE) if place.line >= (line or 1) else ([], place)
        found = LogLines(
            tuple((line.number, str(line.html)) for line in lines), after.line, log_lines.count(log), log.size
        )
    return tagged(request, canonical(vars(found)), "application/json")


@router.get("/live", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
def follow_log(
    request: Request,
    number: parameters.Number,
    attempt: parameters.Try = None,
    offset: parameters.Offset = 0,
    last_event_id: Annotated[str, Header(max_length=60)] = "",
) -> Response:
    """The log as it is written, as server-sent events from ``offset`` on, or from where the last event ended.

    Each event has ``lines`` as in /lines, of which the first may be the last one before, grown; ``skipped``, the first
    and the last of the lines that were left out because they came faster than they could be sent, or null; and the
    ``size`` of the log. Its id is the byte and the line at which the next one begins. The last event is ``end``, with
    ``is_done``: without it the job is tried again.
    """
    farm = farm_of(request)
    with farm.database.read() as connection:
        found = find(connection, number, attempt)
    if found is None:
        raise NotFoundError(f"job {number} has no log yet", "Ask again when a test node has taken it")
    if known := _PLACE.fullmatch(last_event_id):
        offset = int(known[1])
    path = file_of(found, farm.folder)
    with Log(path) as log:
        place = log_lines.place_at(log, offset)
    live: LiveLogs = request.app.state.live_logs
    events = live.events(found.attempt, path, place)
    return StreamingResponse(events, 200, {"Cache-Control": "no-store"}, "text/event-stream")


def _path(request: Request, number: int, attempt: int | None) -> Path:
    farm = farm_of(request)
    with farm.database.read() as connection:
        return file_of(find(connection, number, attempt), farm.folder)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a Range header asks for; None: all are wanted."""
    if (match := _RANGE.fullmatch(header.replace(" ", ""))) is None or match[0] == "bytes=-":
        return None  # several ranges, or none that is one: the whole is a right answer
    first, last = match[1], match[2]
    start, end = (int(first), int(last or size) + 1) if first else (max(size - int(last), 0), size)
    if first and last and int(last) < int(first):
        return None
    if start >= size or start >= end:
        raise RangeError(size)
    return start, min(end, size)


def _accepts_zstd(request: Request) -> bool:
    for item in request.headers.get("accept-encoding", "").split(","):
        coding, _, quality = item.partition(";")
        if coding.strip().lower() == "zstd":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", quality)
    return False


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield bytes; a log that grows meanwhile does not change the length that was announced."""
    with Log(path) as log:
        yield from log.blocks(start, end)


def _frames(path: Path) -> Iterator[bytes]:
    with Log(path) as log:
        yield from log.frames()
