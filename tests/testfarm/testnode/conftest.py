# SPDX-License-Identifier: Apache-2.0
"""A small engine that speaks the wire, and the test node as a real process."""

import contextlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import encode, loads
from allotment.messages.job import Job, Lease
from allotment_testfarm.wire import CacheOffer, HeartbeatAnswer, JobResult, LogAnswer, NodeWelcome, StepReport

TOKEN = "wire-token-0123456789"


class FakeEngine:
    """The engine's side of wire.py, in memory, with switches for what can go wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"README": b"hello\n"}
        self.archive: bytes | None = None  # instead of one made of ``files``
        self.lease_seconds = 30.0
        self.longest_wait = 0.5  # seconds in which a call for a lease is answered
        self.heartbeat = 0.1
        self.cancelled: set[int] = set()
        self.lost: set[int] = set()
        self.kept_log_bytes: int | None = None  # forget the log beyond, once: a crash before fsync
        self.drop_log_answers = 0  # take the bytes, then cut the connection
        self.cut_sources = 0  # cut the connection instead of sending the revision's files
        self.stuck_heartbeats = 0  # never answer, as a connection that died without a word
        self.refuse_all = False  # as an engine that restarts: 503
        self.offer: CacheOffer | None = None  # a farm that knows of no binary caches
        self.refuse_results_over: int | None = None  # bytes
        self.hellos: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []  # for leases
        self.heartbeats: list[dict[str, Any]] = []
        self.results: list[JobResult] = []
        self.steps: list[StepReport] = []
        self.blobs: dict[str, bytes] = {}
        self.log = b""
        self._waiting: list[Job] = []
        self._given = 0
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._reservation = socket.socket()  # keeps the port while nothing serves there
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self._port = self._reservation.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve, always on the same port."""
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                engine.answer(self)

            do_POST = do_PUT = do_GET

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            with self._changed:
                self._changed.notify_all()

    def close(self) -> None:
        self.stop()
        self._reservation.close()

    def submit(self, command: list[str], **options: Any) -> None:
        """Offer a job of kind ``command``; ``kind=...`` and other fields of Job may be given."""
        fields = {"kind": "command", "options": {"command": command}, **options}
        with self._changed:
            job = Job(len(self._waiting) + 1, "demo", "0" * 40, "hello", "software/hello/software.cfg", **fields)
            self._waiting.append(job)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Return what the condition returns once it is true; fails the test when that takes too long."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (self.log[-2000:], self.results)
            return condition()

    def result(self, seconds: float = 60.0) -> JobResult:
        """Wait for the first result."""
        self.wait_for(lambda: self.results, seconds)
        return self.results[0]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = self._body(request)
        if self.refuse_all:
            return self._send(request, 503, b"{}")
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._send(request, 401, b'{"error": "wrong token", "fix": "Give the right one"}')
        path, _, query = request.path.partition("?")
        steps = path.split("/")[3:]
        with self._changed:
            answer = self._route(steps, dict(item.split("=") for item in query.split("&") if item), body)
            self._changed.notify_all()
        if answer is None:
            request.close_connection = True
            request.connection.close()
            return None
        return self._send(request, *answer)

    def _body(self, request: BaseHTTPRequestHandler) -> bytes:
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes = b"") -> None:
        with contextlib.suppress(ConnectionError):  # the test node has ended
            request.send_response(status)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

    def _route(self, steps: list[str], query: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        match steps:
            case ["nodes"]:
                self.hellos.append(json.loads(body))
                return 200, self._json(NodeWelcome(self.heartbeat))
            case ["lease"]:
                return self._lease(json.loads(body))
            case ["cache"] if self.offer is not None:
                return 200, self._json(self.offer)
            case ["source", _] if self.cut_sources:
                self.cut_sources -= 1
                return None
            case ["source", _]:
                return 200, self.archive if self.archive is not None else tar_of(self.files)
            case ["blobs", sha256]:
                self.blobs[sha256] = body
                return 201, b""
            case ["leases", lease, word]:
                if int(lease) in self.lost:
                    return 409, b'{"error": "the lease was given away", "fix": "Drop the job"}'
                return self._about_lease(int(lease), word, query, body)
        return 404, b'{"error": "no such path", "fix": ""}'

    def _lease(self, request: dict[str, Any]) -> tuple[int, bytes]:
        self.requests.append(request)
        self._changed.notify_all()
        seconds = 0.0 if request["refuses"] else min(request["wait"], self.longest_wait)
        self._changed.wait_for(lambda: self._waiting or self._server is None, seconds)
        if request["refuses"] or not self._waiting:
            return 204, b""
        job = self._waiting.pop(0)
        self._given += 1
        seconds = self.lease_seconds
        lease = Lease(self._given, job, 1, request["node"], self._given, time.time() + seconds, seconds)
        return 200, self._json(lease)

    def _about_lease(self, lease: int, word: str, query: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        if word == "heartbeat":
            self.heartbeats.append(json.loads(body))
            if self.stuck_heartbeats:
                self.stuck_heartbeats -= 1
                self._changed.wait_for(lambda: False, 60)
                return None
            return 200, self._json(HeartbeatAnswer(time.time() + 30, lease in self.cancelled))
        if word == "log":
            return self._append(int(query["offset"]), body)
        if word == "steps":
            self.steps.append(loads(StepReport, body))
        if word == "result":
            if self.refuse_results_over is not None and len(body) > self.refuse_results_over:
                return 413, b'{"error": "the body is too large", "fix": "Send less"}'
            self.results.append(loads(JobResult, body))
        return 204, b""

    def _append(self, offset: int, data: bytes) -> tuple[int, bytes] | None:
        if self.kept_log_bytes is not None and len(self.log) > self.kept_log_bytes:
            self.log, self.kept_log_bytes = self.log[: self.kept_log_bytes], None
        if offset > len(self.log):
            return 416, self._json(LogAnswer(len(self.log)))
        self.log += data[len(self.log) - offset :]
        if self.drop_log_answers:
            self.drop_log_answers -= 1
            return None
        return 200, self._json(LogAnswer(len(self.log)))

    def _json(self, value: Any) -> bytes:
        return json.dumps(encode(value)).encode()


def tar_of(files: dict[str, bytes]) -> bytes:
    """Return a tar of files by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class NodeProcess:
    """The test node as ``allot farm node`` runs it."""

    def __init__(self, folder: Path, engine: FakeEngine) -> None:
        self.folder = folder
        self._engine = engine
        self._token = folder.with_suffix(".token")
        self._token.write_text(TOKEN)
        self.log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, largest_file: int = resource.RLIM_INFINITY) -> None:
        """Start it; ``largest_file`` (bytes) stands for a disk that is full."""
        call = "import sys; from allotment.cli import main; sys.exit(main())"
        words = ["farm", "node", "--folder", str(self.folder), "--farm", self._engine.url, "--name", "t1"]
        words += ["--disk-wanted", "0", "--memory-wanted", "0"]  # whatever this machine has left
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", call, *words, "--token-file", str(self._token), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its jobs' temporary folders go with its own: a killed test node can't remove them.
                env={**os.environ, "TMPDIR": str(self.folder.parent)},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY)),
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + 60
        while self._guards() and time.monotonic() < deadline:  # they still write into the folder
            time.sleep(0.01)

    def _guards(self) -> list[str]:
        """Return the processes that have the folder among their arguments."""
        found = []
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if path.name.isdigit() and f"{self.folder}/".encode() in (path / "cmdline").read_bytes():
                    found.append(path.name)
        return found


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    fake.start()
    yield fake
    fake.close()


@pytest.fixture
def node(engine: FakeEngine) -> Iterator[NodeProcess]:
    """A test node that is not started yet, in a folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="tn-") as folder:
        process = NodeProcess(Path(folder) / "node", engine)
        try:
            yield process
        finally:
            process.close()


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    """Return whether a process runs; a zombie does not."""

    def look(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return look


@pytest.fixture
def within() -> Callable[[float, Callable[[], Any]], Any]:
    """Wait for a condition outside of the fake engine, at most so many seconds; return what it returned."""

    def wait(seconds: float, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def marker() -> str:
    """An argument by which processes of one test are found."""
    return f"marker-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def marked(marker: str) -> Callable[[], list[int]]:
    """Return the processes that have the marker among their arguments."""

    def find() -> list[int]:
        found = []
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdigit() and marker.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    return find
