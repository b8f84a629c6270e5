# SPDX-License-Identifier: Apache-2.0
"""Commands that recipes run while a profile is processed: what they print goes to the log, line by line."""

import collections
import os
import select
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from allotment_recipes.hermetic.sandbox import Sandbox

_LAST: Final = 10  # lines that an error shows
_LONGEST: Final = 300  # characters of a line in an error
_PATIENCE: Final = 0.05  # seconds between two looks whether a silent command has ended
_PIECE: Final = 1 << 16  # bytes


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # exit code; below zero, the signal that killed it
    last: tuple[str, ...]  # the last lines that it printed

    def problem(self, what: str) -> str:
        """Return the sentence for an error, with the last lines below it."""
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"failed with exit code {self.code}"
        return f"{what} {how}" + "".join(f"\n  | {line[:_LONGEST]}" for line in self.last)


def run_command(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    sandbox: "Sandbox | None" = None,
) -> Ended:
    """Run a program to its end and hand each line that it prints to ``say``; it reads nothing.

    What it leaves in the background may go on printing, unless it is in a sandbox; nobody waits for that.
    """
    last: collections.deque[str] = collections.deque(maxlen=_LAST)

    def tell(data: bytes) -> None:
        line = data.decode(errors="replace").rstrip()
        say(line)
        last.append(line)

    if sandbox is not None:
        code = _run_confined(sandbox, words, folder, environment, tell)
        return Ended(code, tuple(line for line in last if line))
    with subprocess.Popen(
        words,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as process:
        rest = _read(process, process.stdout, tell) if process.stdout is not None else b""
        if rest:
            tell(rest)
        code = process.wait()
    return Ended(code, tuple(line for line in last if line))


def _run_confined(
    sandbox: "Sandbox",
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    tell: Callable[[bytes], None],
) -> int:
    reader, writer = os.pipe()
    rest = b""

    def take() -> None:
        nonlocal rest
        *lines, rest = (rest + os.read(reader, _PIECE)).split(b"\n")
        for line in lines:
            tell(line)

    try:
        with open(os.devnull, "rb") as nothing:
            code = sandbox.run(words, folder, environment, (nothing.fileno(), writer, writer), heard=(reader, take))
    finally:
        os.close(reader)
        os.close(writer)
    if rest:
        tell(rest)
    return code


def _read(process: "subprocess.Popen[bytes]", pipe: IO[bytes], tell: Callable[[bytes], None]) -> bytes:
    """Read lines until the pipe closes, or the process has ended and is silent; return an unfinished line."""
    rest = b""
    while True:
        has_ended = process.poll() is not None  # asked first: what it printed before its end is in the pipe then
        if select.select([pipe], [], [], 0 if has_ended else _PATIENCE)[0]:
            data = os.read(pipe.fileno(), _PIECE)
            if not data:
                return rest
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                tell(line)
        elif has_ended:
            return rest
