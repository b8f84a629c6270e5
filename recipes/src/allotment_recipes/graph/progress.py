# SPDX-License-Identifier: Apache-2.0
"""What people see of a build: a line for each part that ends and, on a terminal, what is at work and what is left."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment.errors import AllotmentError
from allotment_recipes.follow import Follow
from allotment_recipes.graph.events import EVENTS, FINAL, Event, parse

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_FAST = 8  # times a second that a terminal is drawn


@dataclass
class Progress:
    """What the events of a build that have come so far say; ``say`` gets a line for each part that ends."""

    say: Callable[[str], object]
    total: int = 0  # parts that had to be built
    done: int = 0
    reused: int = 0
    working: dict[str, Event] = field(default_factory=dict)  # part -> its beginning
    waiting: dict[str, Event] = field(default_factory=dict)
    _rest: bytes = b""  # of a line that is not whole yet

    def add(self, data: bytes) -> None:
        """Take the next piece of the events' file."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for event in parse(lines):
            self.take(event)

    def take(self, event: Event) -> None:
        """Take one event."""
        if event.event == "waiting":
            self.total += 1
            self.waiting[event.part] = event
        elif event.event == "started":
            self.working[event.part] = event
        elif event.event in FINAL:
            self._end(event)

    def _end(self, event: Event) -> None:
        if event.part not in self.waiting:
            self.reused += event.event == "reused"
            if event.event == "failed":
                self.say(f"{event.part} failed")
            return
        del self.waiting[event.part]
        began = self.working.pop(event.part, event)
        self.done += 1
        seconds = event.seconds or event.at - began.at
        told = "failed after" if event.event == "failed" else f"{event.event} in"
        self.say(f"[{self.done}/{self.total}] {event.part} {told} {span(seconds)}")

    def left(self, now: float) -> float | None:
        """Return the seconds that are left, by what took how long the last time; None when nothing is known of it.

        It can't be less than the longest way of parts that wait for each other, nor than all work shared by as many
        as are at work now.
        """
        waiting, working = self.waiting.copy(), self.working.copy()  # events come on another thread
        known = [event for event in waiting.values() if event.expected is not None]
        if not known:
            return None
        usual = sum(event.expected or 0.0 for event in known) / len(known)
        ways, work = [0.0], 0.0
        for part, event in waiting.items():
            passed = now - working[part].at if part in working else 0.0
            expected = usual if event.expected is None else event.expected
            ways.append((event.path or expected) - min(passed, expected))
            work += max(0.0, expected - passed)
        return max(*ways, work / max(1, len(working)))

    def table(self) -> "RenderableType":
        """Return what a terminal shows now."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        now = time.time()
        rows = Table.grid(padding=(0, 2))
        for part, event in self.working.copy().items():
            last = "" if event.expected is None else f"last time {span(event.expected)}"
            rows.add_row(Text(f"  {part}", "bold"), Text(span(now - event.at)), Text(last, "dim"))
        return Group(rows, Text(self.summary(now)))

    def summary(self, now: float) -> str:
        """Return one line on the whole build."""
        if not self.total:
            return ""
        words = [f"{self.done} of {self.total} done", f"{len(self.working)} at work"]
        words += [f"{self.reused} reused"] if self.reused else []
        left = self.left(now)
        if left is not None and self.waiting:
            words.append(f"about {span(left)} left, until {time.strftime('%H:%M:%S', time.localtime(now + left))}")
        return ", ".join(words)


def span(seconds: float) -> str:
    """Return a number of seconds for people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Lines:
    """Cuts what comes into lines."""

    say: Callable[[str], object]
    _rest: bytes = b""

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.say(line.decode(errors="replace"))


@contextlib.contextmanager
def shown(folder: Path, log: Path) -> Iterator[Callable[[str], object]]:
    """Show, on standard error, how a release's build goes while the block runs, which gets what prints a line there."""
    progress = Progress(lambda line: click.echo(line, err=True))
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty() and (live := _live(progress)) is not None:
            progress.say = functools.partial(live.console.out, highlight=False)
            stack.enter_context(live)
        stack.enter_context(_follow(log, Lines(progress.say).add))
        stack.enter_context(_follow(folder / EVENTS, progress.add))
        yield progress.say


def _follow(path: Path, write: Callable[[bytes], object]) -> Follow:
    try:
        return Follow(path, write)
    except OSError as error:
        raise AllotmentError(
            f"{path} can't be read: {error.strerror}",
            "Build as the user who owns the release's folder, or choose another one with --folder",
        ) from error


def _live(progress: Progress) -> "Live | None":
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:  # the lines are enough
        return None
    return Live(
        get_renderable=progress.table,
        console=Console(stderr=True),
        refresh_per_second=_FAST,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
