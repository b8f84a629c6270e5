# SPDX-License-Identifier: Apache-2.0
"""``allot-exec``: run one program so that nothing of it is left behind, and note what it used.

Run by path under ``python -I -S``; imports little, and of the standard library only: there is one for each service.

    allot_exec.py [--parent FILE] [--lifeline FD] [--usage FILE] [--grace S] [--limit NAME=N]... -- PROGRAM [WORD]...

It dies with its parent (``--parent``: the file that holds the parent's pid, against a parent that was dead before we
asked the kernel to tell) or at the end of file of ``--lifeline``; dying means: SIGTERM to the program, ``--grace``
seconds later SIGKILL, and then the same for every process that the program has left.
"""

import os
import resource
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_STOPPING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class Options:
    """The command line, parsed."""

    def __init__(self, arguments: list[str]) -> None:
        self.parent = self.usage = ""
        self.lifeline = -1
        self.grace = 10.0  # seconds
        self.limits: list[tuple[int, int]] = []
        while arguments and arguments[0] != "--":
            name, value = arguments[0], arguments[1]
            if name == "--limit":
                limit, _, number = value.partition("=")
                self.limits.append((getattr(resource, f"RLIMIT_{limit.upper()}"), int(number)))
            elif name == "--grace":
                self.grace = float(value)
            elif name == "--lifeline":
                self.lifeline = int(value)
            elif name in ("--parent", "--usage"):
                setattr(self, name[2:], value)
            else:
                raise SystemExit(f"allot-exec: unknown option {name}")
            del arguments[:2]
        self.program = arguments[1:]
        if not self.program:
            raise SystemExit("allot-exec: no program after --")


class Runner:
    """Runs the program and waits for it and for all that it leaves."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pid = 0
        self._status: int | None = None
        self._kill_at: float | None = None
        self._user = self._system = 0.0
        self._peak = 0  # kibibytes
        self._started = time.time()
        self._wake, self._woken = os.pipe()
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Return the program's exit code, 128 + n when a signal ended it."""
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._woken)
        # Held back until we know the child, and in the child until our handlers are off: none is lost in between.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
        self._pid = self._spawn()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        while self._status is None:
            self._wait()
        self._end_leftovers()
        if self._options.usage:
            self._record()
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _spawn(self) -> int:
        shim = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_FORWARDED, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != shim:
                os._exit(127)
            for limit, wanted in self._options.limits:
                hard = resource.getrlimit(limit)[1]  # it can be lowered only
                value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
                resource.setrlimit(limit, (value, value))
            for end in (self._wake, self._woken, self._options.lifeline):
                if end >= 0:
                    os.close(end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
            os.execvp(self._options.program[0], self._options.program)
        except BaseException as error:  # a forked child must never return into its parent's code
            os.write(2, f"allot-exec: {self._options.program[0]}: {error}\n".encode())
        os._exit(127)

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGCHLD:
            return
        if self._pid and self._status is None:
            _kill(self._pid, number)
        if number in _STOPPING and self._kill_at is None:
            self._kill_at = time.monotonic() + self._options.grace

    def _wait(self) -> None:
        """Sleep until a signal comes, a child ends, the lifeline is cut or the grace is over."""
        watched = [self._wake] + ([self._options.lifeline] if self._options.lifeline >= 0 else [])
        left = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
        ready = select.select(watched, [], [], left)[0]
        if self._wake in ready:
            self._drain()
        if self._options.lifeline in ready and not os.read(self._options.lifeline, 4096):
            os.close(self._options.lifeline)
            self._options.lifeline = -1
            self._note(signal.SIGTERM, None)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = time.monotonic() + 1.0
            _kill(self._pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> bool:
        """Collect whoever has ended; return False when no child is left at all."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._user += used.ru_utime
            self._system += used.ru_stime
            self._peak = max(self._peak, used.ru_maxrss)
            if pid == self._pid:
                self._status = status

    def _end_leftovers(self) -> None:
        """As the subreaper we are the parent of whatever the program's children have become."""
        deadline = time.monotonic() + min(self._options.grace, 5.0)
        if self._reap():
            for pid in _children():
                _kill(pid, signal.SIGTERM)
        while self._reap():
            if time.monotonic() >= deadline:
                for pid in _children():
                    _kill(pid, signal.SIGKILL)
            select.select([self._wake], [], [], 0.05)
            self._drain()

    def _drain(self) -> None:
        try:  # noqa: SIM105 (contextlib is one more module to import for each service)
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass

    def _record(self) -> None:
        """Add what was used to the totals in the usage file; a file that can't be read begins anew."""
        import json

        path = self._options.usage
        totals = {"format": 1, "runs": 0, "seconds": 0.0, "user_seconds": 0.0, "system_seconds": 0.0, "peak_bytes": 0}
        try:
            with open(path, encoding="ascii") as file:
                found = json.load(file)
            if isinstance(found, dict) and found.get("format") == 1:
                totals.update(found)
        except (OSError, ValueError):
            pass
        totals["runs"] += 1
        totals["seconds"] += time.time() - self._started
        totals["user_seconds"] += self._user
        totals["system_seconds"] += self._system
        totals["peak_bytes"] = max(totals["peak_bytes"], self._peak * 1024)
        try:
            with open(f"{path}.new", "w", encoding="ascii") as file:
                json.dump(totals, file)
            os.replace(f"{path}.new", path)
        except OSError as error:  # the service's end must not depend on a full disk
            os.write(2, f"allot-exec: {path}: {error}\n".encode())


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _kill(pid: int, number: int) -> None:
    try:  # noqa: SIM105 (as above)
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _children() -> list[int]:
    """Return our children's pids. Every process's parent is read: ``/proc/self/task/*/children`` is a kernel option."""
    mine = []
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs 5 ms to import)
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                mine.append(int(name))
    return mine


def _adopted(options: Options) -> bool:
    """Whether the process that should be our parent still is."""
    if not options.parent:
        return True
    try:
        with open(options.parent, encoding="ascii") as file:
            return int(file.read()) == os.getppid()
    except (OSError, ValueError):
        return False


def main(arguments: list[str]) -> int:
    """Run the program of the command line."""
    options = Options(arguments)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if options.parent:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if not _adopted(options):
        return 127
    return Runner(options).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
