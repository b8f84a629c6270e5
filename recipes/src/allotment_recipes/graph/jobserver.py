# SPDX-License-Identifier: Apache-2.0
"""One budget of jobs for all parts of a build: a FIFO of tokens that make, ninja and CMake take theirs from.

Each running part has a token, which pays for one command at a time; for each further one make takes another token and
gives it back. make before 4.4 can't open a FIFO itself, and Python closes what it could inherit: so a ``make`` that
stands first on the PATH opens it for the real one. What is told ``-j`` with a number heeds no budget.
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
_NINJA: Final = """\
        case $("$program" --version) in
        1.[0-9]|1.[0-9].*|1.1[0-2]|1.1[0-2].*) set -- -j{jobs} "$@";;
        esac"""


class Jobserver:
    """``jobs`` tokens in a FIFO below ``folder``, which is made anew; who begins a part takes one before."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._jobs = min(jobs, select.PIPE_BUF)  # more may not fit into a FIFO
        self._held = 0  # tokens that running parts have
        remove(folder)
        (folder / "bin").mkdir(parents=True)
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo, 0o600)
        self.handle = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(self.handle, _TOKEN * self._jobs)
        make = "Opens the FIFO of job tokens for make, of which versions before 4.4 don't know how."
        ninja = "Tells a ninja that knows no job tokens (before 1.13) how many jobs it may have at most."
        for name in ("make", "gmake"):
            self._write(name, make, _MAKE)
        self._write("ninja", ninja, _NINJA.format(jobs=jobs))

    def take(self) -> bool:
        """Take a token for a part that begins; False when there is none now: ``handle`` is readable when there is."""
        try:
            is_taken = bool(os.read(self.handle, 1))
        except BlockingIOError:
            return False
        self._held += is_taken
        return is_taken

    def put(self, *, is_idle: bool = False) -> None:
        """Give back the token of a part that has ended; one that ended while it waited has done so itself."""
        self._held -= 1
        if not is_idle:
            os.write(self.handle, _TOKEN)

    def top_up(self) -> None:
        """Replace the tokens that killed programs had; to be called only when nothing that could have one runs."""
        found = array.array("i", [0])
        fcntl.ioctl(self.handle, termios.FIONREAD, found)
        missing = self._jobs - self._held - found[0]
        if missing > 0:
            os.write(self.handle, _TOKEN * missing)
        elif missing < 0:
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
        os.close(self.handle)
        remove(self._folder)

    def _write(self, name: str, purpose: str, body: str) -> None:
        path = self.programs / name
        path.write_text(_NEXT.format(purpose=purpose, own=shlex.quote(str(self.programs)), body=body))
        path.chmod(0o755)


class SharedJobs(Jobs):
    """A part that is built beside others; ``tell`` says to who began it whether its token is given back meanwhile."""

    def __init__(self, server: Jobserver, tell: Callable[[bool], object]) -> None:
        self._server = server
        self._tell = tell

    def equip(self, environment: Mapping[str, str]) -> dict[str, str]:
        path = f"{self._server.programs}:{environment.get('PATH', os.defpath)}"
        return {**self._server.environment(), **environment, "PATH": path}

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Give the token back for the time of the block: another part may need it, perhaps the one waited for.

        Whoever began us is told before the token is there, and after it has gone: when we are killed in between, one is
        missing until ``top_up``, and never one too many.
        """
        self._tell(True)
        os.write(self._server.handle, _TOKEN)
        try:
            yield
        finally:
            self._take_back()
            self._tell(False)

    def _take_back(self) -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                if os.read(self._server.handle, 1):
                    return
            select.select([self._server.handle], [], [])
