# SPDX-License-Identifier: Apache-2.0
"""A binary cache as a program: one per folder, on loopback or with TLS, with a ready file, stopped by a signal."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from allotment.atomic import write_bytes
from allotment.codec import canonical
from allotment.errors import AllotmentError
from allotment.program import FolderLock
from allotment_recipes.binary_cache import keys
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.binary_cache.server import Settings, create_app

READY: Final = "cache.json"  # in the folder, while requests are answered: format, pid, url
TOKEN: Final = "token"  # in the folder: what an upload needs
_GRACE: Final = 10  # seconds that running answers get when the program is told to stop
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """Where a program listens."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any
    certificate: Path | None = None  # TLS, in PEM
    key: Path | None = None

    def check(self) -> None:
        """Refuse to serve anything but loopback without TLS."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            raise AllotmentError(f"host {self.host!r} is not an IP address", "Write it like 127.0.0.1") from None
        if not address.is_loopback and self.certificate is None:
            raise AllotmentError(
                f"host {self.host} can be reached from other machines, and there is no TLS",
                "Use 127.0.0.1, or give a certificate and its key",
            )


def serve(folder: Path, keep: str, listening: Listening) -> None:
    """Serve the cache at ``keep``, by default ``<folder>/parts``, until SIGTERM or SIGINT."""
    listening.check()
    with FolderLock(folder, "cache.lock"):
        settings = Settings(
            open_cache(keep or str(folder / "parts")), folder / "uploads", token(folder / TOKEN), keys.trusted_keys
        )
        with _listen(listening) as listener:
            address = f"[{listening.host}]" if ":" in listening.host else listening.host
            scheme = "https" if listening.certificate else "http"
            url = f"{scheme}://{address}:{listener.getsockname()[1]}"
            config = uvicorn.Config(
                create_app(settings), log_config=None, access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=75, timeout_graceful_shutdown=_GRACE,
                ssl_certfile=listening.certificate, ssl_keyfile=listening.key,
            )  # fmt: skip
            server = _Server(config, folder / READY, url)
            server.run(sockets=[listener])
    if not server.started:
        raise AllotmentError("the binary cache could not start", "The log above says why")


def token(path: Path) -> str:
    """Return the token in a file, made at the first start; only its owner can read it."""
    if not path.exists():
        write_bytes(path, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
    return path.read_text().strip()


def _listen(listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family, backlog=512)
    except OSError as error:
        raise AllotmentError(
            f"{listening.host}:{listening.port} can't be served: {error.strerror}", "Take another port, or 0 for any"
        ) from error


class _Server(uvicorn.Server):
    """Tells when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Path, url: str) -> None:
        super().__init__(config)
        self._ready = ready
        self._url = url

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
            write_bytes(self._ready, canonical({"format": 1, "pid": os.getpid(), "url": self._url}))
            _log.info("serving %s", self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ready.unlink(missing_ok=True)
        await super().shutdown(sockets)
        _log.info("stopped")
