# SPDX-License-Identifier: Apache-2.0
"""Promise: a unit of systemd is in the state it should be in."""

import re
from dataclasses import dataclass
from typing import Literal

from allotment.options import OptionProblem
from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.limits import check_above_zero

_UNIT = re.compile(r"[\w:.\\@][\w:.\\@-]{0,254}", re.ASCII)
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "NRestarts")
_ACTIVE = ("active", "reloading", "refreshing")


@dataclass(frozen=True)
class Options:
    unit: str  # name of the unit; without a suffix it is a service
    expect: Literal["active", "inactive", "not-failed"] = (
        "active"  # not-failed: it may also have ended well, as timers' do
    )
    timeout: float = 5.0  # seconds for systemd to answer

    def __post_init__(self) -> None:
        if not _UNIT.fullmatch(self.unit):
            raise OptionProblem("unit", f"{self.unit!r} is no name of a unit", "Write it like nginx.service")
        check_above_zero(timeout=self.timeout)


class CheckSystemdUnit(GenericPromise[Options]):
    """Passes while systemd says that ``unit`` is in the state that is expected of it.

    Metrics: ``restarts`` of a service.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return self.options.unit

    def sense(self) -> Measurement:
        unit, expected = self.options.unit, self.options.expect
        command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit]
        try:
            outcome = run_command(command, self.partition, self.options.timeout)
        except OSError as error:
            return Measurement.failed(f"systemctl can't be started: {error.strerror}")
        if outcome.code != 0:
            return Measurement.failed(f"systemctl {outcome.describe(self.options.timeout)}")
        found = dict(line.split("=", 1) for line in outcome.output.splitlines() if "=" in line)
        if found.get("LoadState") != "loaded":
            return Measurement.failed(
                f"unit {unit} is {found.get('LoadState', 'unknown')}, expected it to be {expected}"
            )
        state = found.get("ActiveState", "unknown")
        text = f"unit {unit} is {state} ({found.get('SubState', 'unknown')}, last result {found.get('Result', 'none')})"
        restarts = found.get("NRestarts", "")
        metrics = {"restarts": float(restarts)} if restarts.isdecimal() else {}
        if _is_as_expected(state, expected):
            return Measurement.passed(text, **metrics)
        return Measurement.failed(f"{text}, expected it to be {expected}", **metrics)


def _is_as_expected(state: str, expected: str) -> bool:
    if expected == "active":
        return state in _ACTIVE
    return state == "inactive" if expected == "inactive" else state in (*_ACTIVE, "inactive", "activating")
