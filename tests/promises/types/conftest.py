# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of promise types: measure once as a promise of a partition would."""

import http.server
import importlib
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from allotment.options import parse_options
from allotment_promises import GenericPromise, Measurement, Metric


@pytest.fixture
def make_promise(tmp_path: Path) -> Callable[..., GenericPromise[Any]]:
    """Make a promise of a type from its options; its partition is the folder of the test."""

    def make(type: str, /, **options: Any) -> GenericPromise[Any]:
        module = importlib.import_module(f"allotment_promises.types.{type}")
        cls = getattr(module, "".join(map(str.capitalize, type.split("_"))))
        given = {name.replace("_", "-"): value for name, value in options.items()}
        raw = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        made: GenericPromise[Any] = cls(parse_options(module.Options, raw), tmp_path, "name")
        made.target()  # is asked for before anything is measured
        return made

    return make


@pytest.fixture
def measure(make_promise: Callable[..., GenericPromise[Any]]) -> Callable[..., Measurement]:
    """Measure once with a promise type: ``measure("check_file_state", filename="x")``."""

    def run(type: str, /, **options: Any) -> Measurement:
        promise = make_promise(type, **options)
        measured = promise.sense()
        assert isinstance(measured, Measurement)
        told = (promise.__doc__ or "").partition("Metrics: ")[2]
        is_open = not told or type in ("check_metric", "check_command_execute")  # whose metrics are of others
        assert is_open or all(f"``{name}``" in told for name in measured.metrics)
        return measured

    return run


_INSIDE = """
import importlib, json, subprocess, sys, time
from dataclasses import asdict
from pathlib import Path
from allotment.options import parse_options
type, options, folder, meanwhile = json.loads(sys.argv[1])
module = importlib.import_module("allotment_promises.types." + type)
cls = getattr(module, "".join(map(str.capitalize, type.split("_"))))
promise = cls(parse_options(module.Options, options), Path(folder), "name")
before, found = time.time(), [promise.sense()]
for command in meanwhile:
    subprocess.run(["sh", "-ec", command], check=True, stdout=sys.stderr)
    metrics = found[-1].metrics
    promise.series = lambda name, seconds: [(before, metrics[name].value)] if name in metrics else []
    found.append(promise.sense())
print(json.dumps([asdict(item) for item in found]))
"""


@pytest.fixture
def measure_inside(tmp_path: Path) -> Callable[..., list[Measurement]]:
    """Measure in namespaces of its own, any user's: once after ``setup``, and once after each command ``meanwhile``.

    ``flags`` are those of unshare, ``setup`` and the commands are of the shell, run as the namespace's root. What was
    measured is the promise's past when it measures again.
    """

    def run(flags: str, setup: str, type: str, meanwhile: Sequence[str] = (), **options: Any) -> list[Measurement]:
        raw = {name.replace("_", "-"): value for name, value in options.items()}
        command = ["unshare", "--user", "--map-root-user", *flags.split(), "sh", "-ec", f'{setup}\nexec "$@"', "sh"]
        arguments = [sys.executable, "-c", _INSIDE, json.dumps([type, raw, str(tmp_path), list(meanwhile)])]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        if done.returncode and "unshare: unshare failed" in done.stderr:
            pytest.skip("needs user namespaces")
        assert done.returncode == 0, done.stderr
        return [
            Measurement(
                item["is_passed"], item["message"], {key: Metric(**one) for key, one in item["metrics"].items()}
            )
            for item in json.loads(done.stdout)
        ]

    return run


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that no system trusts."""
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server with a certificate of 127.0.0.1, signed by the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the test gave for the path: code, headers and body, or a function of the request."""

    pages: dict[str, Any]

    def do_GET(self) -> None:
        page = self.pages.get(self.path, (404, {}, b""))
        code, headers, body = page(self) if callable(page) else page
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve pages over HTTP, or HTTPS with a context; returns the URL."""
    stops: list[Callable[[], None]] = []

    def start(pages: dict[str, Any], context: ssl.SSLContext | None = None) -> str:
        handler = type("Pages", (Handler,), {"pages": pages})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stops.extend((server.server_close, lambda: thread.join(10), server.shutdown))
        return f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"

    yield start
    for stop in reversed(stops):
        stop()


# Database servers: each is started by the first test that wants it


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder with a short name, for unix sockets; its servers are ended before it goes."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        yield Path(folder)


class Server:
    """A program that serves until the session ends."""

    def __init__(self, command: list[str], folder: Path, is_ready: Callable[["Server"], bool]) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        with (folder / "log").open("ab") as log:
            words = ["setpriv", "--pdeathsig", "KILL", *command]  # it ends with a session that is killed too
            self.process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not is_ready(self):
            assert self.process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(20)


def _accepts(server: Server) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(server.socket)) == 0


@pytest.fixture(scope="session")
def start_mariadb(server_folder: Path) -> Iterator[Callable[..., Server]]:
    """Start a MariaDB on ``<folder>/socket`` with further options; the user root has the password ``planted``."""
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    if install is None or not Path(daemon).exists():
        pytest.skip("needs MariaDB")
    user = f"--user={pwd.getpwuid(os.getuid()).pw_name}"
    words = [install, "--no-defaults", f"--datadir={server_folder}/fresh", user, "--skip-test-db"]
    small = ("--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M")
    # Temporary tables in a folder of its own: a server that starts removes those of all others there.
    words += ["--auth-root-authentication-method=normal", f"--tmpdir={server_folder}", *small]
    done = subprocess.run(words, timeout=110, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    servers: list[Server] = []

    def start(name: str, *options: str) -> Server:
        folder = server_folder / name
        shutil.copytree(server_folder / "fresh", folder / "data")
        (folder / "first.sql").write_text("set password for root@localhost = password('planted');\n")
        command = [daemon, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/socket", user, *small]
        command += [f"--pid-file={folder}/pid", f"--init-file={folder}/first.sql", f"--tmpdir={folder}"]
        servers.append(Server([*command, *options], folder, _accepts))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="session")
def mariadb(start_mariadb: Callable[..., Server]) -> Path:
    """The folder of a running MariaDB."""
    return start_mariadb("mariadb", "--skip-networking").folder


@pytest.fixture
def start_redis(server_folder: Path) -> Iterator[Callable[..., Server]]:
    """Start a Redis on ``<folder>/socket`` with further options."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    servers: list[Server] = []

    def start(*options: str) -> Server:
        folder = Path(tempfile.mkdtemp(dir=server_folder))
        command = [program, "--unixsocket", str(folder / "socket"), "--save", "", *options]
        servers.append(Server([*command, *(() if "--port" in options else ("--port", "0"))], folder, _accepts))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def copy_postgresql(postgresql_server: Path) -> Iterator[Callable[..., Path]]:
    """Start a copy of the session's PostgreSQL, with further words for pg_basebackup, options, and files in its data.

    Returns the folder of its socket.
    """
    pid = (postgresql_server / "data/postmaster.pid").read_text().split()[0]
    programs = Path(f"/proc/{pid}/exe").readlink().parent
    user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    folders: list[Path] = []

    def run(folder: Path, program: str, *words: str) -> None:
        with (folder / "log").open("ab") as log:
            command = [*user, str(programs / program), "-D", f"{folder}/data", *words]
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True, timeout=100)

    def start(*words: str, options: str = "-c listen_addresses=", files: dict[str, bytes] | None = None) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="a-"))  # short: it holds a unix socket
        folders.append(folder)
        if user:
            shutil.chown(folder, "nobody", "nogroup")
        run(folder, "pg_basebackup", "-h", str(postgresql_server), "-U", "test", "-c", "fast", "-X", "stream", *words)
        for name, data in (files or {}).items():
            (folder / "data" / name).write_bytes(data)
            (folder / "data" / name).chmod(0o600)
            if user:
                shutil.chown(folder / "data" / name, "nobody", "nogroup")
        run(folder, "pg_ctl", "-w", "-t", "60", "-o", f"-k {folder} -c max_connections=200 -F {options}", "start")
        return folder

    yield start
    for folder in folders:
        if (folder / "data/postmaster.pid").exists():
            run(folder, "pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)
