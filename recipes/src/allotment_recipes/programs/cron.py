# SPDX-License-Identifier: Apache-2.0
"""A partition's cron daemon: runs the jobs of ``etc/cron.d`` and tells of them in one log.

    python -m allotment_recipes.programs.cron --entries FOLDER --log FILE --state FILE [--zone ZONE]

Changes of the folder are seen within seconds. A run whose time has passed by less than five minutes (the machine slept,
or this program was being restarted) is made late; one that was missed by more is told and not made up for. A clock that
is put back by less than ten minutes repeats no run. SIGTERM ends the running jobs first.
"""

import argparse
import asyncio
import contextlib
import fcntl
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError
from allotment_recipes.crontab import Job, read_entries

_LOOK: Final = 5.0  # seconds between two looks at the folder and at the clock
_PATIENCE: Final = 300.0  # seconds by which a run may be late
_SET_BACK: Final = 600.0  # seconds; a clock that goes back further was wrong before, and jobs can't wait so long
_MOST: Final = 1000  # missed runs that are counted
_SAVE: Final = 60.0  # seconds between two notes of how far we have come
_GRACE: Final = 5.0  # seconds for jobs to end
_LIMIT: Final = 1 << 20  # bytes of an entry, and of the state
_PIECE: Final = 1 << 16  # bytes of a line of output


@dataclass(frozen=True)
class Due:
    """A job whose time has come."""

    job: Job
    missed: int  # runs that are too late now
    is_now: bool


class Plan:
    """Which runs are due; ``seen`` is the time up to which all runs were looked at, for the jobs named in ``known``."""

    def __init__(self, zone: str, seen: float | None = None, known: Iterable[str] = ()) -> None:
        self._zone = zone
        self._known = frozenset(known)
        self._start = seen
        self.seen = seen
        self._next: dict[Job, float | None] = {}

    def tick(self, now: float, jobs: list[Job]) -> list[Due]:
        """Return what is due, in the order of ``jobs``."""
        if self.seen is not None and now < self.seen:
            if self.seen - now < _SET_BACK:
                return []  # what comes now was run before the clock was put back
            self._next = {}
            self._start = None
        self.seen = now
        for job in jobs:
            if job not in self._next:
                is_known = self._start is not None and identity(job) in self._known
                begin = self._start if is_known and self._start is not None else now
                self._next[job] = job.schedule.next_after(min(begin, now), job.zone or self._zone)
        self._next = {job: self._next[job] for job in jobs}
        self._start = None  # what is added from now on begins now
        return [due for job in jobs if (due := self._due(job, now))]

    def wake_at(self) -> float:
        """Return when the next run is due."""
        return min((at for at in self._next.values() if at is not None), default=float("inf"))

    def _due(self, job: Job, now: float) -> Due | None:
        at, last, count = self._next[job], 0.0, 0
        while at is not None and at <= now:
            last, count = at, count + 1
            at = job.schedule.next_after(now if count == _MOST else at, job.zone or self._zone)
        self._next[job] = at
        if not count:
            return None
        is_now = now - last <= _PATIENCE and count < _MOST
        return Due(job, count - is_now, is_now)


def identity(job: Job) -> str:
    """Return what makes a job the same one after a restart."""
    return f"{job.name} {job.schedule.text}"


class Entries:
    """The folder of entries; files that have not changed are not read again."""

    def __init__(self, folder: Path, say: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._say = say
        self._files: dict[str, tuple[object, list[Job]]] = {}

    def read(self) -> list[Job]:
        """Return all jobs; what is wrong with a file is said once."""
        files = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for item in sorted(found, key=lambda item: item.name):
                if item.name.startswith(".") or item.name.endswith("~"):
                    continue
                with contextlib.suppress(FileNotFoundError):  # it went just now
                    status = item.stat()
                    stamp = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
                    known = self._files.get(item.name)
                    files[item.name] = known if known and known[0] == stamp else (stamp, self._load(item.name))
        self._files = files
        return [job for _, jobs in files.values() for job in jobs]

    def _load(self, name: str) -> list[Job]:
        try:
            text = (read_limited(self._folder / name, _LIMIT) or b"").decode()
        except (AllotmentError, UnicodeDecodeError) as error:
            self._say("cron", f"{name} is left out: {error}")
            return []
        jobs = []
        for item in read_entries(name, text):
            if isinstance(item, str):
                self._say("cron", f"{item}; the line is left out")
            else:
                jobs.append(item)
        return jobs


class Log:
    """Appends lines with the time before each; the file may be renamed at any moment. A full disk loses lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, name: str, text: str) -> None:
        """Append one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._write(f"{stamp} {name}: {text}\n".encode(errors="replace"))

    def _write(self, data: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(2, f"cron: {self._path}: {error.strerror}\n".encode())


class Runner:
    """Runs jobs, each in a session of its own, one at a time of each name."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._running: dict[str, float] = {}  # when each began, on the monotonic clock
        self._groups: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: signal.Signals | None = None  # what all jobs were told last

    def start(self, due: Due) -> None:
        """Run the job, unless its last run goes on still."""
        name = due.job.name
        if due.missed:
            many = f"{due.missed} runs were" if due.missed > 1 else "a run was"
            self._say(name, f"{many} missed")
        if not due.is_now:
            return
        if name in self._running:
            seconds = time.monotonic() - self._running[name]
            self._say(name, f"is left out: the run before it goes on since {seconds:.0f} s")
            return
        self._running[name] = time.monotonic()
        task = asyncio.get_running_loop().create_task(self._run(due.job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        began = self._running[job.name]
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                job.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **dict(job.environment)},
            )
        except OSError as error:
            del self._running[job.name]
            self._say(job.name, f"can't be started: {error.strerror}")
            return
        self._groups.add(process.pid)
        if self._ending is not None:  # it was being started when the others were told
            _signal(process.pid, self._ending)
        assert process.stdout is not None
        output = asyncio.get_running_loop().create_task(self._copy(job.name, process.stdout))
        code = await process.wait()
        # What it has left in the background may hold its output open; the next run does not wait for that.
        await asyncio.wait((output,), timeout=1.0)
        del self._running[job.name]
        seconds = time.monotonic() - began
        how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        self._say(job.name, f"{'done' if code == 0 else how} after {seconds:.1f} s")
        await output
        self._groups.discard(process.pid)

    async def _copy(self, name: str, stream: asyncio.StreamReader) -> None:
        rest = b""
        while piece := await stream.read(_PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _PIECE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(name, line.decode(errors="replace"))
        if rest:
            self._say(name, rest.decode(errors="replace"))

    async def end(self) -> None:
        """End all jobs and what they have started; return when they have ended."""
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            if self._tasks:
                self._ending = number
                for group in self._groups:
                    _signal(group, number)
                await asyncio.wait(self._tasks, timeout=patience)


class Cron:
    """The daemon."""

    def __init__(
        self, entries: Path, log: Path, state: Path, zone: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._log = Log(log)
        self._entries = Entries(entries, self._log.say)
        self._state = state
        self._clock = clock
        self._plan = Plan(zone, *_read_state(state))
        self._runner = Runner(self._log.say)
        self._saved = 0.0

    async def run(self) -> None:
        """Go on until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        ending, woken = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, functools.partial(_set, ending, woken))
        loop.add_signal_handler(signal.SIGHUP, woken.set)
        self._log.say("cron", "begins")
        while not ending.is_set():
            self._look()
            left = min(max(self._plan.wake_at() - self._clock(), 0.0), _LOOK)
            woken.clear()
            if not ending.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), left)
        await self._runner.end()
        self._log.say("cron", "ends")

    def _look(self) -> None:
        now = self._clock()
        jobs = self._entries.read()
        due = self._plan.tick(now, jobs)
        if due or abs(now - self._saved) >= _SAVE:  # before the jobs begin: a crash never runs one twice
            self._saved = now
            data = {"format": 1, "seen": self._plan.seen, "jobs": [identity(job) for job in jobs]}
            with contextlib.suppress(OSError):  # a full disk: the runs matter more
                write_bytes(self._state, json.dumps(data).encode(), 0o600, sync=False)
        for item in due:
            self._runner.start(item)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _set(*events: asyncio.Event) -> None:
    for event in events:
        event.set()


def _read_state(path: Path) -> tuple[float | None, list[str]]:
    try:
        data = json.loads(read_limited(path, _LIMIT) or b"{}")
        return float(data["seen"]), [str(name) for name in data["jobs"]]
    except (AllotmentError, ValueError, KeyError, TypeError):
        return None, []  # the first start, or a file cut short


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; a second one for the same partition ends at once."""
    parser = argparse.ArgumentParser(prog="cron", allow_abbrev=False)
    for name in ("--entries", "--log", "--state"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--zone", default="UTC")
    options = parser.parse_args(arguments)
    options.state.parent.mkdir(parents=True, exist_ok=True)
    lock = options.state.with_name(f".{options.state.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"cron: another one runs with {options.state}\n")
        return 1
    asyncio.run(Cron(options.entries, options.log, options.state, options.zone).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
