# SPDX-License-Identifier: Apache-2.0
"""``allot farm run``: the engine and the web tier as two processes, either restarted when it dies."""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment.errors import AllotmentError
from allotment_testfarm.commands.cache_options import cache_options
from allotment_testfarm.commands.project_options import project_options

if TYPE_CHECKING:
    from allotment_testfarm.children import Child

_log = logging.getLogger(__name__)
_TICK = 0.1  # seconds between two looks at the children


@click.command("run")
@project_options
@cache_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the pages; 0 takes a free one.")
def command(
    folder: Path, port: int, wire_port: int, database: str, name: str, cache: str, cache_url: str, **engine: object
) -> None:
    """Run the farm until SIGTERM: poll the repository, lease jobs to test nodes, show the results."""
    from allotment.program import FolderLock, log_to_stderr
    from allotment_recipes.binary_cache.caches import open_cache
    from allotment_testfarm.children import Child
    from allotment_testfarm.engine.naming import check_engine, own
    from allotment_testfarm.web.cache import OFF

    log_to_stderr()
    _check_repository(str(engine["repository"]))
    _check_nightly(str(engine["nightly"]), str(engine["time_zone"]))
    check_engine(name, database)
    if cache != OFF:
        open_cache(cache or str(folder))  # refused now, and not by a web tier again and again
    cache = cache if cache in ("", OFF) or "://" in cache else str(Path(cache).absolute())
    folder = folder.resolve()
    shared = _options({"folder": folder, "database": database, "name": name})
    options = [*shared, *_options(engine)]
    web = _options({"cache": cache, "cache_url": cache_url})
    ports = folder / own(name, "ports.json")
    with FolderLock(folder, own(name, "farm.lock")):
        last = _last_ports(ports)
        children = (
            Child(
                "engine",
                lambda chosen: _program("engine", "--wire-port", str(chosen), *options),
                folder / own(name, "engine.json"),
                wire_port or _if_free(last.get("engine", 0)),
            ),
            Child(
                "web",
                lambda chosen: _program("web", "--port", str(chosen), *shared, *web),
                folder / own(name, "web.json"),
                port or _if_free(last.get("web", 0)),
            ),
        )
        _tend(folder / own(name, "farm.json"), ports, children)


def _check_repository(repository: str) -> None:
    """Refuse a path that is not there; a URL or host:path may be away for a while, which the poll endures."""
    if ":" not in repository and not Path(repository).exists():
        raise AllotmentError(f"--repository {repository} does not exist", "Give a git repository's path or URL")


def _check_nightly(line: str, time_zone: str) -> None:
    """Refuse a cron line that can't be read, before an engine does again and again."""
    from allotment_testfarm.engine.cron import Cron

    if line:
        Cron(line, time_zone)


def _tend(ready: Path, ports: Path, children: "tuple[Child, Child]") -> None:
    """Keep the children running until a signal comes."""
    from allotment_testfarm.children import stop_all

    signals: list[int] = []  # an Event has a lock, which may be held where the signal comes in
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        while not signals:
            # Each child is tended in every round: no short-circuit.
            changes = [child.tend(time.monotonic()) for child in children]
            if any(changes) and all(child.url for child in children):
                _announce(ready, ports, *children)
            time.sleep(_TICK)
    finally:
        ready.unlink(missing_ok=True)
        stop_all(children)
    _log.info("stopped")


def _announce(ready: Path, ports: Path, engine: "Child", web: "Child") -> None:
    from allotment import atomic

    document = {
        "format": 1,
        "pid": os.getpid(),
        "engine_pid": engine.pid,
        "web_pid": web.pid,
        "url": web.url,
        "wire": engine.url,
    }
    atomic.write_bytes(ports, json.dumps({"engine": engine.port, "web": web.port}).encode())
    atomic.write_bytes(ready, json.dumps(document).encode())
    _log.info("results at %s, test nodes at %s", web.url, engine.url)


def _program(name: str, *arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", "allotment_testfarm", "--lifeline", name, *arguments)


def _options(values: dict[str, object]) -> list[str]:
    """Return options as words again; the value of one that may be given several times is a tuple."""
    words = []
    for name, value in values.items():
        for item in value if isinstance(value, tuple) else (value,):
            if item not in (None, ""):
                words += [f"--{name.replace('_', '-')}", str(item)]
    return words


def _last_ports(file: Path) -> dict[str, int]:
    """Return the ports of the last start: pages and test nodes find the farm where it was."""
    with contextlib.suppress(OSError, ValueError):
        ports: dict[str, int] = json.loads(file.read_bytes())
        return ports
    return {}


def _if_free(port: int) -> int:
    """Return the port of the last start, or 0 when somebody else has it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
