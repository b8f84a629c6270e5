# SPDX-License-Identifier: Apache-2.0
"""Run an application as a program: one per folder, on loopback, with a ready file, stopped without losing an answer."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from allotment import atomic
from allotment.codec import canonical
from allotment.errors import AllotmentError
from allotment.program import FolderLock
from allotment_master.kit.app import App
from allotment_master.kit.limits import is_local_name

GRACE = 10  # seconds that running answers get when the program is told to stop
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tls:
    """A server certificate and its key, in PEM."""

    certificate: Path
    key: Path


def serve(
    app: App,
    folder: Path,
    name: str,
    port: int = 0,
    host: str = "127.0.0.1",
    tls: Tls | None = None,
    ready: dict[str, object] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; ``<folder>/<name>.json`` exists while requests are answered.

    It holds format, pid, url and what ``ready`` adds. Port 0 takes a free one, and the same after a restart if it
    can: those who know the address find the program again.
    """
    check_address(host, tls)
    with FolderLock(folder, f"{name}.lock"), _listen(host, port, folder / f"{name}.port") as listener:
        if tls is None:
            app.allowed_host = is_local_name
        address = f"[{host}]" if ":" in host else host
        url = f"{'https' if tls else 'http'}://{address}:{listener.getsockname()[1]}"
        document = {"format": 1, "pid": os.getpid(), "url": url, **(ready or {})}
        server = _Server(_config(app, tls), app, folder / f"{name}.json", document)
        server.run(sockets=[listener])
    if not server.started:
        raise AllotmentError(f"{name} could not start", "The log above says why")


def check_address(host: str, tls: Tls | None) -> None:
    """Refuse to serve anything but loopback without TLS."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise AllotmentError(f"host {host!r} is not an IP address", "Write it like 127.0.0.1") from None
    if not address.is_loopback and tls is None:
        raise AllotmentError(
            f"host {host} can be reached from other machines, and there is no TLS",
            "Use 127.0.0.1, or give a certificate and its key",
        )


def _listen(host: str, port: int, memory: Path) -> socket.socket:
    if port == 0 and (before := _remembered(memory)):
        try:
            return _bind(host, before)
        except OSError:
            memory.unlink()  # someone else has it now
    try:
        listener = _bind(host, port)
    except OSError as error:
        raise AllotmentError(
            f"{host}:{port} can't be served: {error.strerror}", "Take another port, or 0 for any"
        ) from error
    if port == 0:
        atomic.write_bytes(memory, str(listener.getsockname()[1]).encode())
    return listener


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _remembered(memory: Path) -> int:
    try:
        number = int(memory.read_text())
    except (OSError, ValueError):
        return 0
    return number if 0 < number < 65536 else 0


def _config(app: App, tls: Tls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=75,  # longer than clients keep a connection, so that it is they who close it
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


class _Server(uvicorn.Server):
    """Tells when it is ready, and ends long polls before it waits for running answers."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Path, document: dict[str, object]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._document = document

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the parent's, but a signal that was obeyed is not raised again: a clean stop exits with 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            atomic.write_bytes(self._ready, canonical(self._document))
            _log.info("serving %s", self._document["url"])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ready.unlink(missing_ok=True)
        self._app.wakeup.close()
        await super().shutdown(sockets)
        _log.info("stopped")
