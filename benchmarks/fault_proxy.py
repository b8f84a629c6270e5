# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that does to connections what networks do: cuts them, holds bytes back, lets half of a piece through."""

import asyncio
import contextlib
import re
import threading
import urllib.parse
from types import TracebackType
from typing import Final, Self

FAULTS: Final = ("cut", "delay", "halve")
_PIECE: Final = 1 << 16  # bytes
_ACKNOWLEDGED: Final = re.compile(rb'"acknowledged": ?(\d+)')  # in the engine's answers about logs


class FaultProxy:
    """A context manager: listens on a port of its own, on a thread, and passes everything on to ``target``, a URL."""

    def __init__(self, target: str) -> None:
        address = urllib.parse.urlsplit(target)
        self._target = (address.hostname, address.port)
        self.url = ""
        self.acknowledged = 0  # the last number of bytes of log that went through as taken
        self._fault = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def begin(self, fault: str) -> None:
        """Let all connections suffer from one of ``FAULTS``, until :meth:`end`."""
        self._loop.call_soon_threadsafe(self._begin, fault)

    def end(self) -> None:
        """Pass everything on again."""
        self._loop.call_soon_threadsafe(self._end)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        self._loop.run_forever()
        server.close()
        self._end()
        self._abort()
        if tasks := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=5.0))
        self._loop.close()

    def _begin(self, fault: str) -> None:
        self._fault = fault
        if fault == "cut":
            self._abort()
        if fault == "delay":
            self._flowing.clear()

    def _end(self) -> None:
        self._fault = ""
        self._flowing.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            if self._fault != "cut":
                reader_there, writer_there = await asyncio.open_connection(*self._target)
                ends.add(writer_there)
                self._writers.add(writer_there)
                await self._pass_on(reader, writer, reader_there, writer_there)
        except OSError:
            pass  # the engine is away
        finally:
            for end in ends:
                end.transport.abort()
            self._writers -= ends

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reader_there: asyncio.StreamReader,
        writer_there: asyncio.StreamWriter,
    ) -> None:
        """Pass bytes on in both directions until one of them ends."""
        there = asyncio.ensure_future(self._pump(reader, writer_there, is_answer=False))
        back = asyncio.ensure_future(self._pump(reader_there, writer, is_answer=True))
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                await self._flowing.wait()
                if self._fault == "halve":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    await asyncio.sleep(0.01)  # so that they arrive before the end does
                    return
                writer.write(data)
                await writer.drain()
                if is_answer:
                    self._note(data)

    def _note(self, data: bytes) -> None:
        for found in _ACKNOWLEDGED.findall(data):
            self.acknowledged = int(found)
