# SPDX-License-Identifier: Apache-2.0
"""Answers that are kept: made once for many readers, never older than the question, never in the way of others."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message

from allotment_master.kit.listing import tagged
from allotment_testfarm.web import kept as module
from allotment_testfarm.web.kept import Kept, Version, keep

TEXT = "a line of text, " * 200


@dataclass
class Site:
    """An application that counts what it makes, behind the middleware."""

    app: ASGIApp = field(init=False)
    now: float = 0.0
    version: int = 1
    made: list[str] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        inner = FastAPI()

        @inner.get("/kept/{name}")
        async def kept(request: Request, name: str) -> Response:
            self.made.append(name)
            await asyncio.sleep(0)
            keep(request, 5.0)
            return tagged(request, f"{name} {self.version} {TEXT}".encode(), "text/plain")

        @inner.get("/large")
        async def large(request: Request, number: int) -> Response:
            self.made.append("large")
            keep(request, 5.0)
            return tagged(request, number.to_bytes(1, "big") * 5_000_000, "text/plain")

        @inner.get("/small")
        async def small(request: Request) -> Response:
            keep(request, 5.0)
            return tagged(request, b"a line", "text/plain")

        @inner.get("/followed")
        async def followed() -> Response:
            async def lines() -> Any:
                yield b"first"
                await self.held.wait()

            return StreamingResponse(lines())

        @inner.get("/past/{name}")
        async def archive(name: str) -> Response:
            async def parts() -> Any:
                yield b"first"
                await self.held.wait()

            return StreamingResponse(parts(), headers={"ETag": '"a"'})

        async def newest() -> int:
            return self.version

        self.app = Kept(inner, newest, lambda: self.now, "/past/")

    async def get(self, path: str, *headers: tuple[str, str], first: asyncio.Event | None = None) -> tuple[int, bytes]:
        """Return status and body; ``first`` is set at the first bytes of it."""
        address, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": address,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }
        answer: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            answer.append(message)
            if first is not None and message.get("body"):
                first.set()

        await self.app(scope, receive, send)
        return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])


def run(story: Callable[[Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(story(Site()), 30)

    asyncio.run(whole())


def test_many_readers_are_answered_by_one_making() -> None:
    async def story(site: Site) -> None:
        answers = await asyncio.gather(*(site.get("/kept/a") for _ in range(200)))
        assert len(set(answers)) == 1 and site.made == ["a"]
        site.version = 2
        answers = await asyncio.gather(*(site.get("/kept/a") for _ in range(200)))
        assert {body[:3] for _, body in answers} == {b"a 2"} and site.made == ["a", "a"]
        site.now += 5.0
        await site.get("/kept/a")
        assert len(site.made) == 3

    run(story)


def test_what_is_kept_is_compressed_and_known_by_its_tag() -> None:
    async def story(site: Site) -> None:
        _, plain = await site.get("/kept/a")
        status, packed = await site.get("/kept/a", ("accept-encoding", "br, gzip"))
        assert status == 200 and len(packed) < len(plain) and gzip.decompress(packed) == plain
        assert await site.get("/kept/a", ("if-none-match", "*")) == (304, b"")
        assert (await site.get("/kept/a", ("if-none-match", '"other"')))[0] == 200
        assert site.made == ["a"]

    run(story)


def test_what_goes_past_is_sent_as_it_comes_though_it_has_a_tag() -> None:
    async def story(site: Site) -> None:
        first = asyncio.Event()
        task = asyncio.create_task(site.get("/past/archive", ("accept-encoding", "gzip"), first=first))
        await first.wait()
        site.held.set()
        assert await task == (200, b"first")

    run(story)


def test_an_answer_that_goes_on_for_long_holds_nobody_up() -> None:
    async def story(site: Site) -> None:
        first, second = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(site.get("/followed", first=event)) for event in (first, second)]
        await asyncio.gather(first.wait(), second.wait())
        site.held.set()
        assert await asyncio.gather(*tasks) == [(200, b"first"), (200, b"first")]

    run(story)


def test_answers_take_a_bounded_amount_of_memory() -> None:
    async def story(site: Site) -> None:
        for number in (1, 2, 3, 4):
            await site.get(f"/large?number={number}")
        await site.get("/large?number=4")
        assert len(site.made) == 4
        await site.get("/large?number=1")
        assert len(site.made) == 5

    run(story)


def test_many_small_answers_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMORY", 1_000_000)

    async def story(site: Site) -> None:
        await site.get("/small")  # what FastAPI remembers is none of it
        tracemalloc.start()
        try:
            for number in range(2000):
                await site.get(f"/small?{number:04d}{'x' * 900}")
            assert tracemalloc.get_traced_memory()[0] < 2_000_000
        finally:
            tracemalloc.stop()

    run(story)


def test_an_answer_to_an_address_that_no_link_has_is_not_kept() -> None:
    async def story(site: Site) -> None:
        for _ in range(2):
            assert (await site.get(f"/kept/a?{'x' * 1000}"))[0] == 200
        assert site.made == ["a", "a"]

    run(story)


def test_a_version_is_asked_after_whoever_asks_and_once_for_all_who_do() -> None:
    async def story() -> None:
        asked: list[int] = []

        def read() -> int:
            asked.append(len(asked))
            return len(asked)

        version = Version(read)
        answers = await asyncio.gather(*(version() for _ in range(50)))
        assert set(answers) == {1, 2} and answers.count(1) == 1  # the first one's began before the others asked
        assert await version() == 3 == len(asked)

    asyncio.run(story())


def test_a_version_that_could_not_be_read_is_asked_again() -> None:
    async def story() -> None:
        answers = iter([OSError("the database is away"), 7])

        def read() -> int:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        version = Version(read)
        with pytest.raises(OSError, match="away"):
            await version()
        assert await version() == 7

    asyncio.run(story())
