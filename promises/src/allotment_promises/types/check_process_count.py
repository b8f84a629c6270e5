# SPDX-License-Identifier: Apache-2.0
"""Promise: so many processes of a kind are there."""

from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_count
from allotment_promises.sensing.limits import check_limits, outside
from allotment_promises.sensing.logs import compile_pattern


@dataclass(frozen=True)
class Options:
    process_name: str = ""  # name of the program
    command: str = ""  # regular expression of Python, searched in the command line
    user: str = ""  # name of the user that they run as
    minimum: int | None = None  # processes; 1 when maximum is not given either
    maximum: int | None = None  # processes

    def __post_init__(self) -> None:
        if not (self.process_name or self.command or self.user):
            raise OptionProblem("process-name, command, user", "none of them is given", "Say which processes count")
        compile_pattern("command", self.command)
        check_limits(self.minimum, self.maximum, required=False)


class CheckProcessCount(GenericPromise[Options]):
    """Passes while ``minimum`` to ``maximum`` processes run that fit all that is given of name, command and user.

    Processes that have ended and wait for their parent do not count.

    Metrics: ``processes``.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return self.options.process_name or self.options.command or self.options.user

    def sense(self) -> Measurement:
        options = self.options
        count = sum(1 for _ in self._processes())
        minimum = 1 if options.minimum is None and options.maximum is None else options.minimum
        problem = outside(count, minimum, options.maximum)
        return Measurement(
            not problem,
            f"{show_count(count, 'process', 'processes')}{self._kind()}{problem}",
            {"processes": Metric(count)},
        )

    def _processes(self) -> Iterator[psutil.Process]:
        options = self.options
        pattern = compile_pattern("command", options.command)
        for process in psutil.process_iter(["name", "username", "cmdline", "status"]):
            found = process.info
            if found["status"] in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                continue
            if options.process_name and found["name"] != options.process_name:
                continue
            if options.user and found["username"] != options.user:
                continue
            if pattern.search(" ".join(found["cmdline"] or [])):
                yield process

    def _kind(self) -> str:
        options = self.options
        named = f" named {options.process_name}" if options.process_name else ""
        matching = f" with {options.command!r} in the command line" if options.command else ""
        return named + matching + (f" of user {options.user}" if options.user else "")
