# SPDX-License-Identifier: Apache-2.0
"""What the programs of backups have in common: how they end, how they ask the other side, and what they let it do."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from allotment.errors import AllotmentError
from allotment_recipes.resilience.commands import end_of
from allotment_recipes.resilience.locks import BUSY, Busy

NEW: Final = ".new"  # folder of a copy that is not whole yet
LOCK: Final = "lock"
RESTORING: Final = "restoring"  # lock of an instance's data while they are restored; with it goes a takeover
STATUS: Final = "status.json"
LOG: Final = "rsync.log"  # what rsync said of the last transfer to or from here
WAITING, RUNNING = "waiting", "running"  # folders of a queue
PEER: Final = "peer"  # the other side's name for ssh, whatever its address
LAST, RECEIVED = "last/", "received/"  # the only paths that one side can name on the other
SILENCE: Final = 600  # seconds without a byte after which rsync gives up
ANSWER: Final = 1 << 16  # bytes that are kept of what the other side prints: its end
_FLAGS: Final = re.compile(r"-[rtp]+e[0-9.]*\.[A-Za-z]*")  # recursive, times, permissions; then what rsync can do
_SETTINGS: Final = re.compile(
    r"--(timeout=[0-9]{1,6}|partial|delete|delete-during|delete-before|delete-after|delete-delay)"
)


def finish(work: Callable[[], None]) -> int:
    """Do the work; return the exit code. What goes wrong is told in one line."""
    os.umask(0o077)
    sys.setrecursionlimit(10_000)  # folders can be 2048 deep, and the library's removal goes one call deeper for each
    try:
        work()
    except Busy as busy:
        sys.stderr.write(f"another one is at work, and holds {busy}. Wait until it has ended, and try again.\n")
        return BUSY
    except AllotmentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:  # who writes to a full disk is told no name
        where = error.filename or "the instance's disk"
        sys.stderr.write(f"error: {where}: {error.strerror or error}. Mend that and try again.\n")
        return 1
    return 0


def ask(ssh: Path, words: Sequence[str], seconds: float) -> str:
    """Let the other side do what the words say; return the end of what it prints. Its errors go where ours go."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen([str(ssh), PEER, *words], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = _End(process.stdout), _End(process.stderr)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
            process.wait()
            answer, told = output.text(), errors.text()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AllotmentError(f"{words[0]}: the other side can't be asked: {error}", "Look whether it runs") from error
    sys.stderr.write(told)
    if code:
        last = (told.strip() or f"exit code {code}").splitlines()[-1][:1000]
        raise AllotmentError(
            f"{words[0]}: the other side says: {last}", "Look at its log, its address and its host key"
        )
    return answer


class _End(threading.Thread):
    """Reads a stream to its end and keeps its last bytes, however much the other side sends."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        with self._stream:
            while data := os.read(self._stream.fileno(), ANSWER):
                self._kept = (self._kept + data)[-ANSWER:]

    def text(self) -> str:
        """Return it when the other side has ended; signs that a terminal would obey are shown as question marks."""
        self.join(10.0)  # seconds: what ssh has started might hold the stream
        text = self._kept.decode(errors="replace").replace("\r\n", "\n")
        return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)


def asked() -> list[str]:
    """Return the words that the other side has sent."""
    try:
        return shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
    except ValueError:
        return []


def rsync_words(words: Sequence[str], path: str) -> list[str] | None:
    """Return the words for our rsync, in the folder that is meant; None when they ask for anything but ``path``."""
    mode = ["--server", "--sender"] if path == LAST else ["--server"]
    count = 1 + len(mode)
    if list(words[:count]) != ["rsync", *mode] or list(words[-2:]) != [".", path] or len(words) < count + 3:
        return None
    flags, settings = words[count], words[count + 1 : -2]
    if not _FLAGS.fullmatch(flags) or not all(_SETTINGS.fullmatch(word) for word in settings):
        return None
    ours = [f"--timeout={SILENCE}", "--msgs2stderr"]
    if path == RECEIVED:  # here it is we who compare: two files of one second are not the same
        ours.append("--modify-window=-1")
    return [*mode, flags, *settings, *ours, ".", "./"]


def run_rsync(rsync: str, words: Sequence[str], folder: Path, log: Path, seconds: float) -> None:
    """Let our rsync speak with the other side, in ``folder``, for so long at most: it may be slow on purpose.

    What rsync has to say goes to ``log``, not to the other side: that can send rules which make rsync read any file
    that we can read, and its errors quote the first line.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
    with open(os.open(log, flags, 0o600), "wb") as errors:
        # The locks that we hold go on to it: they end with the last of us.
        process = subprocess.Popen([rsync, *words], cwd=folder, stderr=errors, start_new_session=True, close_fds=False)
        code = end_of(process, seconds)
    if code is None:
        fix = "Try again: it goes on from there; or raise transfer-timeout on this side"
        raise AllotmentError(f"the transfer was cut after {seconds:g} seconds", fix)
    if code:
        raise AllotmentError(f"rsync ended with {code}", f"Look into {log.name} on this side")
