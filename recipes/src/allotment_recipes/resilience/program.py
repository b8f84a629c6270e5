# SPDX-License-Identifier: Apache-2.0
"""What the programs of backups have in common: how they end, how they ask the other side, and what they let it do."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.resilience.locks import BUSY, Busy

NEW: Final = ".new"  # folder of a copy that is not whole yet
LOCK: Final = "lock"
STATUS: Final = "status.json"
WAITING, RUNNING = "waiting", "running"  # folders of a queue
PEER: Final = "peer"  # the other side's name for ssh, whatever its address
LAST, RECEIVED = "last/", "received/"  # the only paths that one side can name on the other
SILENCE: Final = 600  # seconds without a byte after which rsync gives up
_FLAGS: Final = re.compile(r"-[rtpv]+e[0-9.]*\.[A-Za-z]*")  # recursive, times, permissions; then what rsync can do
_SETTINGS: Final = re.compile(
    r"--(timeout=[0-9]{1,6}|partial|delete|delete-during|delete-before|delete-after|delete-delay)"
)


def finish(work: Callable[[], None]) -> int:
    """Do the work; return the exit code. What goes wrong is told in one line."""
    os.umask(0o077)
    try:
        work()
    except Busy as busy:
        sys.stderr.write(f"another one is at work, and holds {busy}\n")
        return BUSY
    except (AllotmentError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def ask(ssh: Path, words: Sequence[str], seconds: float) -> str:
    """Let the other side do what the words say; return what it prints. Its errors go where ours go."""
    try:
        done = subprocess.run(
            [str(ssh), PEER, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AllotmentError(f"{words[0]}: the other side can't be asked: {error}", "Look whether it runs") from error
    sys.stderr.write(done.stderr)
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:1000]
        raise AllotmentError(
            f"{words[0]}: the other side says: {last}", "Look at its log, its address and its host key"
        )
    return done.stdout


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
    return [*mode, flags, *settings, ".", "./"]
