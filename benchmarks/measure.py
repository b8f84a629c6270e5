# SPDX-License-Identifier: Apache-2.0
"""Measure us and a peer in turn, in one run on one machine: what is reported are medians and their ratio."""

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil


@dataclass(frozen=True)
class Sample:
    """One measurement, in seconds; ``cpu`` is user and system time of everything that was waited for."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Result:
    """One line of the table; ``ratio`` is how many times faster, or smaller, than the peer we are."""

    id: str
    what: str
    ours: float
    peer: float | None  # None: the peer is not on this machine
    unit: str
    goal: str
    holds: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return round(self.peer / self.ours, 2) if self.peer and self.ours else None

    def as_json(self) -> str:
        """Return the result as one object on one line; the details become keys of it."""
        data = dataclasses.asdict(self)
        details = data.pop("details")
        return json.dumps({**data, "ratio": self.ratio, "machine": machine(), **details})

    def as_row(self) -> str:
        peer = "-" if self.peer is None else f"{self.peer:.4g}"
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g} x"
        holds = "holds" if self.holds else "MISSED"
        figures = f"{self.ours:>9.4g} {peer:>9} {self.unit:<3} {ratio:>8}"
        return f"{self.id:<4} {self.what:<44} {figures}  {holds:<6} {self.goal}"


HEAD = f"{'id':<4} {'what':<44} {'ours':>9} {'peer':>9} {'':<3} {'ratio':>8}  {'':<6} goal"


def machine() -> str:
    """Return what this machine is, for those who compare figures."""
    load = os.getloadavg()[0]
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}"


def command(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Callable[[], Sample]:
    """Return a function that runs a command once, its output thrown away, and says how long it took."""

    def run() -> Sample:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment and dict(environment)
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
        return Sample(wall, usage.ru_utime + usage.ru_stime)

    return run


def inside(work: Callable[[], object]) -> Callable[[], Sample]:
    """Return a function that calls ``work`` once in this process and says how long it took.

    The CPU time is with that of the processes that work for us, as far as they run before and after; see ``mean_cpu``.
    """

    def run() -> Sample:
        others = processes_cpu()
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        work()
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Sample(wall, own + processes_cpu() - others)

    return run


def processes_cpu() -> float:
    """Return the CPU seconds, so far, of the processes that this one has started and that still run."""
    children = psutil.Process().children(recursive=True)
    return float(sum(sum(child.cpu_times()[:4]) for child in children))  # with those that they waited for


def alternately(runs: Mapping[str, Callable[[], Sample]], rounds: int, uncounted: int = 1) -> dict[str, list[Sample]]:
    """Measure all in turn, ``rounds`` times after those that are ``uncounted``, because caches fill in them."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(uncounted + rounds):
        for name, run in runs.items():
            sample = run()
            if number >= uncounted:
                samples[name].append(sample)
    return samples


def median(samples: Sequence[Sample]) -> Sample:
    """Return the medians of wall and CPU time, each for itself."""
    return Sample(statistics.median(item.wall for item in samples), statistics.median(item.cpu for item in samples))


def mean_cpu(samples: Sequence[Sample]) -> float:
    """Return the mean of CPU times: those of other processes come in ticks of 10 ms, of which a median is one."""
    return statistics.fmean(item.cpu for item in samples)


def calls(work: Callable[[], object]) -> int:
    """Return how many functions ``work`` calls, those of C among them."""
    count = 0

    def counted(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def report_losses(id: str, what: str, runs: int, lost: int, seed: int, *, is_json: bool) -> int:
    """Print the result of runs of which none may lose anything; return the exit code, 1 when one did."""
    holds = lost == 0
    result = {"id": id, "runs": runs, "lost": lost, "holds": holds, "seed": seed, "machine": machine()}
    line = f"{id:<4} {runs} {what}, {lost} lost  {'holds' if holds else 'MISSED'}"
    sys.stdout.write((json.dumps(result) if is_json else line) + "\n")
    return 0 if holds else 1


def main(measure: Callable[[bool], Result], arguments: Sequence[str] | None = None) -> int:
    """Command line of one benchmark; exits with 1 when the goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help="a shorter run, within a minute")
    options = parser.parse_args(arguments)
    result = measure(options.quick)
    sys.stdout.write((result.as_json() if options.json else f"{HEAD}\n{result.as_row()}") + "\n")
    return 0 if result.holds else 1
