# SPDX-License-Identifier: Apache-2.0
"""One budget of jobs for all parts of a build: a FIFO of tokens that make, ninja and CMake take theirs from.

Each running part has a token, which pays for one command at a time; for each further one make takes another token and
gives it back. make before 4.4 can't open a FIFO itself, and Python closes what it could inherit: so a ``make`` that
stands first on the PATH opens it for the real one. What is told ``-j`` with a number heeds no budget.

A part's own token is in a pipe. The kernel moves it from the FIFO to there, and back, in one step: whenever somebody is
killed, it is in one of both.
"""

import array
import contextlib
import fcntl
import os
import select
import shlex
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from allotment_recipes.graph.jobs import Jobs
from allotment_recipes.shared_store import remove

PATIENCE: Final = 1.0  # seconds after which whoever waits looks whether what he waits for can come
_TOKEN: Final = b"+"
_FIFO: Final = "ALLOTMENT_JOBS"  # variable that names the FIFO
_NEXT: Final = """\
#!/bin/sh
# {purpose}
IFS=:
for folder in $PATH; do
    program=$folder/${{0##*/}}
    if [ "$folder" != {own} ] && [ -x "$program" ]; then
{body}
        exec "$program" "$@"
    fi
done
echo "${{0##*/}}: not found" >&2
exit 127
"""
_MAKE: Final = f"""\
        case $MAKEFLAGS in
        *fifo:*) exec 8<>"${_FIFO}"; MAKEFLAGS=" -j --jobserver-auth=8,8"; export MAKEFLAGS;;
        *--jobserver-auth=8,8*) exec 8<>"${_FIFO}";;
        esac"""
# What knows nothing of tokens has those that are free when it begins, until it ends.
_HELD: Final = f"""\
            taken=$(dd if="${_FIFO}" iflag=nonblock bs={{jobs}} count=1 2> /dev/null)
            trap 'printf %s "$taken" > "${_FIFO}"' EXIT
            jobs=$((1 + ${{{{#taken}}}}))"""
_NINJA: Final = f"""\
        case $("$program" --version) in
        1.[0-9]|1.[0-9].*|1.1[0-2]|1.1[0-2].*)
{_HELD}
            "$program" "-j$jobs" "$@"
            exit;;
        esac"""
_GO: Final = f"""\
        case $1 in
        build|install|test)
{_HELD}
            GOMAXPROCS=${{{{GOMAXPROCS:-$jobs}}}} "$program" "$@"
            exit;;
        esac"""


class Holder:
    """Has a part's token; none while the part waits for another process. Whoever began the part has it open as well."""

    def __init__(self, fifo: int) -> None:
        self._fifo = fifo
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def take(self) -> bool:
        """Take a token; False when there is none now."""
        return _move(self._fifo, self._writer)

    def give(self) -> bool:
        """Give the token back; False when there was none."""
        return _move(self._reader, self._fifo)

    @property
    def held(self) -> int:
        """How many tokens are here."""
        return _count(self._reader)

    def close(self) -> None:
        """Give back what is left."""
        self.give()
        os.close(self._reader)
        os.close(self._writer)


class Jobserver:
    """``jobs`` tokens in a FIFO below ``folder``, which is made anew; who begins a part takes one before."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._holders: list[Holder] = []
        remove(folder)
        (folder / "bin").mkdir(parents=True)
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo, 0o600)
        self.handle = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._jobs = min(jobs, _room(self.handle, jobs))
        os.write(self.handle, _TOKEN * self._jobs)
        make = "Opens the FIFO of job tokens for make, of which versions before 4.4 don't know how."
        ninja = "Tells a ninja that knows no job tokens (before 1.13) how many jobs it may have."
        go = "Tells go, which knows no job tokens, how many jobs it may have."
        for name in ("make", "gmake"):
            self._write(name, make, _MAKE)
        self._write("ninja", ninja, _NINJA.format(jobs=self._jobs))
        self._write("go", go, _GO.format(jobs=self._jobs))

    def holder(self) -> Holder:
        """Return what is to hold the token of one more part, or of one after the other; it has none yet."""
        self._holders.append(Holder(self.handle))
        return self._holders[-1]

    def take(self) -> Holder | None:
        """Take a token for a part that begins; None when there is none now: ``handle`` is readable when there is."""
        holder = self.holder()
        if holder.take():
            return holder
        self.put(holder)
        return None

    def put(self, holder: Holder) -> None:
        """Give back the token of a part that has ended, if it has one."""
        self._holders.remove(holder)
        holder.close()

    @property
    def is_at_rest(self) -> bool:
        """Whether no part has a token, so that no program of one can have others."""
        return not any(holder.held for holder in self._holders)

    def top_up(self) -> None:
        """Replace the tokens that killed programs had; to be called only when nothing that could have one runs."""
        missing = self._jobs - _count(self.handle) - sum(holder.held for holder in self._holders)
        if missing > 0:
            os.write(self.handle, _TOKEN * missing)
        elif missing < 0:
            with contextlib.suppress(BlockingIOError):
                os.read(self.handle, -missing)

    def environment(self) -> dict[str, str]:
        """Return the variables by which programs find the tokens."""
        return {_FIFO: str(self.fifo), "MAKEFLAGS": f" -j --jobserver-auth=fifo:{self.fifo}"}

    @property
    def programs(self) -> Path:
        """The folder that has to be the first on the PATH."""
        return self._folder / "bin"

    def close(self) -> None:
        """Remove the FIFO; nothing that uses it may run any more."""
        for holder in [*self._holders]:
            self.put(holder)
        os.close(self.handle)
        remove(self._folder)

    def _write(self, name: str, purpose: str, body: str) -> None:
        path = self.programs / name
        path.write_text(_NEXT.format(purpose=purpose, own=shlex.quote(str(self.programs)), body=body))
        path.chmod(0o755)


class SharedJobs(Jobs):
    """A part that is built beside others, with its token in ``holder``.

    ``wait`` is called while there is none to take: it returns when there may be one, or after some time.
    """

    def __init__(self, server: Jobserver, holder: Holder, wait: Callable[[], object] | None = None) -> None:
        self._server = server
        self._holder = holder
        self._wait = wait or self._wait_for_token

    def equip(self, environment: Mapping[str, str]) -> dict[str, str]:
        path = f"{self._server.programs}:{environment.get('PATH', os.defpath)}"
        return {**self._server.environment(), **environment, "PATH": path}

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Give the token back for the time of the block: another part may need it, perhaps the one waited for."""
        had_one = self._holder.give()
        try:
            yield
        finally:
            while had_one and not self._holder.take():
                self._wait()

    def _wait_for_token(self) -> None:
        select.select([self._server.handle], [], [], PATIENCE)


def _move(source: int, target: int) -> bool:
    try:
        return os.splice(source, target, 1, flags=os.SPLICE_F_NONBLOCK) == 1
    except BlockingIOError:
        return False


def _count(handle: int) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(handle, termios.FIONREAD, found)
    return found[0]


def _room(fifo: int, jobs: int) -> int:
    """Make room for ``jobs`` tokens; return for how many there is: each that is moved has a page of its own."""
    page = os.sysconf("SC_PAGE_SIZE")
    wanted = jobs
    while wanted > 1:
        try:
            fcntl.fcntl(fifo, fcntl.F_SETPIPE_SZ, wanted * page)
            break
        except OSError:  # more than this user may have
            wanted //= 2
    return fcntl.fcntl(fifo, fcntl.F_GETPIPE_SZ) // page
