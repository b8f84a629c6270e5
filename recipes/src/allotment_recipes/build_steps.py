# SPDX-License-Identifier: Apache-2.0
"""The commands that build a part, one after the other, with one log; and what a person needs when one fails."""

import errno
import json
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError
from allotment_recipes.free_space import FullDiskError, is_full
from allotment_recipes.graph.jobs import Jobs
from allotment_recipes.hermetic.host_tools import undeclared
from allotment_recipes.hermetic.surroundings import Surroundings
from allotment_recipes.hermetic.warning import UNCONFINED

_TELLING = re.compile(
    r"\b(error|fatal|undefined reference|cannot|can't|not found|no such|denied|failed|No rule)\b", re.IGNORECASE
)
_NOT_FOUND = 127  # a shell's exit code
_LAST = 5  # lines of the log's end that are always shown
_MOST = 15  # lines shown at most
_READ = 1 << 18  # bytes of the log's end that are looked at
_MAKE_SPACE = "Make space and build again: what is whole is kept"
ENVIRONMENT = "environment.json"  # in the work folder; `allot build --shell` reads it


class StepError(AllotmentError):
    """A command that builds a part failed."""


@dataclass(frozen=True)
class Workshop:
    """Where the commands of one part run."""

    part: str
    folder: Path  # the sources
    work: Path
    environment: Mapping[str, str]
    log: Path
    lock: int
    release: Path  # for the line that says how to enter the same environment
    say: Callable[[str], None]
    surroundings: Surroundings
    jobs: Jobs = field(default_factory=Jobs)
    phases: list[dict[str, Any]] = field(default_factory=list)  # what each step took, in seconds

    def prepare(self) -> None:
        """Make the private folders, begin the log, and keep the environment for whoever wants to look."""
        for name in ("home", "tmp"):
            (self.work / name).mkdir(exist_ok=True)
        refusal = self.surroundings.refusal
        self.log.write_text(f"{UNCONFINED}: {refusal}\n" if refusal else "")
        self.enter(self.folder)

    def enter(self, folder: Path) -> None:
        """Note the folder that `allot build --shell` goes to."""
        document = {
            "format": 1,
            "folder": str(folder),
            "environment": dict(self.environment),
            "sandbox": self.surroundings.document(self.environment),
        }
        write_bytes(self.work / ENVIRONMENT, json.dumps(document, indent=2).encode(), 0o600, sync=False)

    def run(self, step: str, command: str, *, is_parallel: bool = False) -> None:
        """Run a shell command, which ends at its first failing line; its output goes to the part's log.

        Only where it ``is_parallel`` does make use more than one core: not everything installs well so.
        """
        self.say(f"{step}")
        environment = self.jobs.equip(self.environment) if is_parallel else self.environment
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with self.log.open("ab") as log:
            log.write(f"== {step}\n$ {command}\n".encode())
            log.flush()
            # The lock: whatever outlives us keeps others from building this part over it.
            words = ["/bin/sh", "-ec", command]
            code = self.surroundings.run(words, self.folder, environment, log.fileno(), keep=(self.lock,))
            log.write(f"== {step} ended with {code} after {time.monotonic() - began:.1f} s\n".encode())
        self.phases.append(_phase(step, time.monotonic() - began, used))
        if code != 0:
            raise self._failure(step, command, code)
        if is_full(self.work):
            raise FullDiskError(
                f"[{self.part}] {step} has ended well, but {self.work}: {os.strerror(errno.ENOSPC)}, and a loop in a "
                "Makefile may hide what it could not write",
                _MAKE_SPACE,
            )

    def _failure(self, step: str, command: str, code: int) -> AllotmentError:
        ended = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        lines = last_relevant_lines(self.log)
        shown = "".join(f"\n  | {line}" for line in lines)
        fix = "A program is missing: install it and name it in host-tools" if code == _NOT_FOUND else ""
        if names := undeclared(lines, self.surroundings.programs):
            fix = f"This machine has {' and '.join(names)}, but the section must say so: host-tools = {' '.join(names)}"
        what = f"[{self.part}] {step} {ended}: {_shortened(command)}\n  log: {self.log}"
        if is_full(self.work):
            return FullDiskError(f"{what}{shown}\n  {self.work}: {os.strerror(errno.ENOSPC)}", _MAKE_SPACE)
        by_hand = f"to try by hand: allot build --shell {self.part} --folder {self.release}"
        return StepError(f"{what}\n  folder: {self.folder}\n  {by_hand}{shown}", fix)


def _phase(step: str, seconds: float, before: resource.struct_rusage) -> dict[str, Any]:
    """Return what a step took; ``before`` is what all steps before it had used."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"step": step, "seconds": round(seconds, 2), "cpu": round(used, 2)}


def last_relevant_lines(log: Path) -> list[str]:
    """Return the lines of the log's end that tell of an error, and the last ones, in order.

    With make at work on several things at once, the reason stands well above the end.
    """
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _READ))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip()[:300] for line in text.splitlines()]
    while lines and (not lines[-1] or lines[-1].startswith("== ")):
        lines.pop()
    start = max((number for number, line in enumerate(lines) if line.startswith("== ")), default=-1) + 1
    last = set(range(max(start, len(lines) - _LAST), len(lines)))
    telling = [number for number in range(start, len(lines)) if _TELLING.search(lines[number]) and number not in last]
    return [lines[number] for number in sorted({*telling[-(_MOST - _LAST) :], *last})]


def _shortened(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 300 else f"{line[:297]}..."
