# SPDX-License-Identifier: Apache-2.0
"""The peer of the farm: a Buildbot master with workers on this machine, from its package index.

A job is a build of one ``ShellCommand``. It is asked for over HTTP, and its beginning and its end are the moments at
which Buildbot's own stream of events tells them.
"""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import peers

WORKERS = 4
SILENCE = 20.0  # seconds after which an answer is given up: some never come
_EMIT = Path(__file__).with_name("emit.py")
_CONFIGURATION = """\
from buildbot.plugins import schedulers, steps, util, worker

names = [f"worker-{{number}}" for number in range({workers})]
commands = {commands}


def builder(name, command):
    factory = util.BuildFactory([steps.ShellCommand(command=command)])
    return util.BuilderConfig(name=name, workernames=names, factory=factory)


BuildmasterConfig = {{
    "workers": [worker.Worker(name, "password", max_builds=1) for name in names],
    "protocols": {{"pb": {{"port": "tcp:{worker_port}:interface=127.0.0.1"}}}},
    "builders": [builder(name, command) for name, command in commands.items()],
    "schedulers": [
        schedulers.ForceScheduler(
            name="force", builderNames=list(commands), codebases=[util.CodebaseParameter(codebase="", hide=True)]
        )
    ],
    "collapseRequests": False,
    "db": {{"db_url": "{database}"}},
    "www": {{"port": "tcp:{port}:interface=127.0.0.1", "plugins": {{}}}},
    "buildbotURL": "http://127.0.0.1:{port}/",
    "buildbotNetUsageData": None,
}}
"""


@dataclass
class Told:
    """What the stream of events has told of one build request."""

    build: int = 0
    started: float = 0.0  # UTC epoch
    ended: float = 0.0
    passed: bool = False


@dataclass
class Buildbot:
    """Use it as a context manager; ``database`` is a URL for SQLAlchemy, or "" for a SQLite file."""

    folder: Path
    database: str = ""
    workers: int = WORKERS
    port: int = field(default_factory=lambda: free_port())  # of the API
    worker_port: int = field(default_factory=lambda: free_port())

    def __post_init__(self) -> None:
        self._bin = peers.virtualenv("buildbot", peers.BUILDBOT) / "bin"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._builders: dict[str, int] = {}
        self._told: dict[int, Told] = {}
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The master's process."""
        return self._processes[0].pid

    def submit(self, kind: str, number: int = 0) -> int:
        """Ask for a build of ``trivial``, ``large`` or ``slow``; return the request."""
        builder = f"trivial-{number % self.workers}" if kind == "trivial" else kind
        with self.connection() as connection:
            return connection.force(self._builders[builder], number)

    def connection(self) -> "Connection":
        """Return a connection that is kept open."""
        return Connection(self.port)

    def builder(self, number: int) -> int:
        """Return one of the trivial builders."""
        return self._builders[f"trivial-{number % self.workers}"]

    def wait(self, request: int, until: str = "ended", seconds: float = 120.0) -> Told:
        """Wait until a request has ``started`` or ``ended``; a build that fails is an error."""
        with self._changed:
            if not self._changed.wait_for(lambda: getattr(self._told.get(request, Told()), until), seconds):
                raise RuntimeError(f"Buildbot's request {request} has not {until} in {seconds} s")
            told = self._told[request]
        if until == "ended" and not told.passed:
            raise RuntimeError(f"Buildbot's build {told.build} failed")
        return told

    def log(self, connection: "Connection", build: int) -> int | None:
        """Return the log of a build's command, once there is one."""
        for step in connection.get_json(f"builds/{build}/steps")["steps"]:
            if step["name"] != "worker_preparation":
                logs = connection.get_json(f"steps/{step['stepid']}/logs")["logs"]
                return next((int(log["logid"]) for log in logs if log["slug"] == "stdio"), None)
        return None

    def _start(self) -> None:
        master = self.folder / "master"
        commands = {f"trivial-{number}": ["true"] for number in range(self.workers)}
        commands["large"] = [sys.executable, str(_EMIT), "200000"]
        commands["slow"] = [sys.executable, str(_EMIT), "200", "0.05"]
        self._run("buildbot", "create-master", str(master))
        (master / "master.cfg").write_text(
            _CONFIGURATION.format(
                workers=self.workers,
                commands=json.dumps(commands),
                worker_port=self.worker_port,
                port=self.port,
                database=self.database.replace("postgresql:", "postgresql+psycopg2:") or "sqlite:///state.sqlite",
            )
        )
        self._run("buildbot", "upgrade-master", str(master))
        self._launch("buildbot", master)
        self._wait_for("builders", lambda found: len(found["builders"]) == len(commands))
        for number in range(self.workers):
            worker = self.folder / f"worker-{number}"
            address = f"127.0.0.1:{self.worker_port}"
            self._run("buildbot-worker", "create-worker", str(worker), address, worker.name, "password")
            self._launch("buildbot-worker", worker)
        is_there = self._wait_for("workers", lambda found: all(item["connected_to"] for item in found["workers"]))
        if not is_there:
            raise RuntimeError("Buildbot's workers did not connect")
        with self.connection() as connection:
            found = connection.get_json("builders")["builders"]
        self._builders = {item["name"]: item["builderid"] for item in found}
        self._listen()

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run([str(self._bin / program), *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} {words[0]} failed: {(done.stdout + done.stderr)[-1000:]}")

    def _launch(self, program: str, folder: Path) -> None:
        command = [str(self._bin / program), "start", "--nodaemon", str(folder)]
        output = subprocess.DEVNULL
        self._processes.append(subprocess.Popen(command, stdin=output, stdout=output, stderr=output))

    def _wait_for(self, path: str, is_good: Any, seconds: float = 120.0) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with Connection(self.port, timeout=2.0) as connection:
                    if is_good(connection.get_json(path)):
                        return True
            except (OSError, http.client.HTTPException):  # it does not listen, or answer, yet
                pass
            time.sleep(0.1)
        return False

    def _listen(self) -> None:
        stream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SILENCE)
        stream.request("GET", "/sse/builds/*/*")
        answer = stream.getresponse()
        while b"handshake" not in answer.readline():
            continue
        stream.sock.settimeout(None)  # between two events may be any time
        threading.Thread(target=self._follow, args=(stream, answer), daemon=True).start()

    def _follow(self, stream: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        """Note each event as it comes, until the master ends."""
        try:
            while line := answer.readline():
                if line.startswith(b"data: {"):
                    self._note(json.loads(line[5:]), time.time())
        except (OSError, http.client.HTTPException):
            return
        finally:
            stream.close()

    def _note(self, event: dict[str, Any], now: float) -> None:
        message, what = event["message"], event["key"][-1]
        with self._changed:
            told = self._told.setdefault(message["buildrequestid"], Told(message["buildid"]))
            if what == "new":
                told.started = now
            elif what == "finished":
                told.ended, told.passed = now, message["results"] == 0
            self._changed.notify_all()

    def _stop(self) -> None:
        for process in self._processes:  # at once: nothing of it is wanted any more
            process.kill()
            process.wait()


class Connection:
    """One connection to Buildbot's API."""

    def __init__(self, port: int, timeout: float = SILENCE) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str) -> bytes:
        """Return what is at a path under ``/api/v2``."""
        self._http.request("GET", f"/api/v2/{path}")
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{path}: {answer.status}")
        return body

    def get_json(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self.get(path)))

    def force(self, builder: int, number: int) -> int:
        """Ask for a build; return the build request."""
        parameters = {"builderid": str(builder), "username": "Ada <ada@example.org>", "reason": f"number {number}"}
        call = {"jsonrpc": "2.0", "id": number, "method": "force", "params": parameters}
        self._http.request(
            "POST", "/api/v2/forceschedulers/force", json.dumps(call), {"Content-Type": "application/json"}
        )
        answer = json.loads(self._http.getresponse().read())
        (request,) = answer["result"][1].values()
        return int(request)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
