# SPDX-License-Identifier: Apache-2.0
"""Promise: a service of the partition runs, or does not."""

import contextlib
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric

_SHIM = b"/allot_exec.py\0"  # each supervised service is the child of this program of the node


@dataclass(frozen=True)
class Options:
    service: str  # the name of its program
    expect: Literal["running", "stopped"] = "running"  # what it should be
    run_directory: Path = Path("etc/service")  # where the program is, relative to the partition
    minimum_age: float = 0.0  # running: seconds since it was last started; one that keeps ending is younger

    def __post_init__(self) -> None:
        if not self.service or "/" in self.service:
            raise OptionProblem("service", f"{self.service!r} is no program's name", "Write its name without folder")
        if self.minimum_age and self.expect == "stopped":
            raise OptionProblem("minimum-age, expect", "a stopped service has no age", "Remove one of the two")


class CheckServiceState(GenericPromise[Options]):
    """Passes when the node's supervisor has a process for ``service``, or with ``expect = stopped`` has none.

    One that a signal has suspended fails ``expect = running``.

    Metrics: ``age``, seconds since it was last started.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return str(self.partition / self.options.run_directory / self.options.service)

    def sense(self) -> Measurement:
        options = self.options
        pid = _services(int(time.monotonic())).get(self.target())
        started = None
        if pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                started = psutil.Process(pid).create_time()
        found = "stopped" if started is None else "running"
        metrics = {} if started is None else {"age": Metric(max(0.0, time.time() - started), "s")}
        if found != options.expect:
            return Measurement(False, f"{options.service} is {found}, expected {options.expect}", metrics)
        if started is None:
            return Measurement.passed(f"{options.service} is stopped")
        if pid is not None and _is_suspended(pid):
            return Measurement.failed(f"{options.service} is suspended by a signal, expected running", **metrics)
        age = metrics["age"].value
        if age < options.minimum_age:
            expected = f"expected at least {options.minimum_age:g} s"
            return Measurement.failed(f"{options.service} runs for {age:.1f} s, {expected}", **metrics)
        return Measurement.passed(f"{options.service} runs for {age:.0f} s", **metrics)


def _is_suspended(shim: int) -> bool:
    """Return whether the service's process, the child of its shim, was stopped by a signal such as SIGSTOP."""
    with contextlib.suppress(OSError, psutil.NoSuchProcess):  # it ended meanwhile
        children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
        return any(psutil.Process(int(child)).status() == psutil.STATUS_STOPPED for child in children)
    return False


@functools.lru_cache(maxsize=1)
def _services(second: int) -> dict[str, int]:
    """Return the supervised programs of this machine and the pids of their shims, looked up once in a ``second``."""
    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):  # it ended meanwhile, or is hidden from this user
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                before, _, after = file.read().partition(b"\0--\0")
            if _SHIM in before:
                found[os.fsdecode(after.partition(b"\0")[0])] = pid
    return found
