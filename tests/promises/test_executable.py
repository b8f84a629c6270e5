# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (commands and their messages stand side by side, as a table)
"""Executables in etc/promise: any program, and plugins of Nagios."""

from collections.abc import Callable
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment_promises import Measurement, Metric
from allotment_promises.executable import Executable, Options

Write = Callable[[str, str], Path]


def sense(partition: Path, path: Path) -> Measurement:
    return Executable(Options(path, 20.0), partition, path.name).sense()


@pytest.mark.parametrize(
    ("script", "is_passed", "message", "metrics"),
    [
        ("true", True, "ended with exit code 0", {}),
        ("echo all is well", True, "all is well", {}),
        ("echo 'web | up'", True, "web | up", {}),
        ("echo no good; exit 2", False, "ended with exit code 2: no good", {}),
        ("echo no good; exit 9", False, "ended with exit code 9: no good", {}),
        ("echo 'PING OK | rta=2ms;;; pl=0%'", True, "PING OK", {"rta": Metric(0.002, "s"), "pl": Metric(0.0, "1")}),
        ("echo 'PING WARNING: 2 ms | rta=2ms'; exit 1", False, "PING WARNING: 2 ms", {"rta": Metric(0.002, "s")}),
        ("echo 'DISK CRITICAL'; echo '/ is full | /=9B'; exit 2", False, "DISK CRITICAL\n/ is full", {"/": Metric(9.0, "B")}),
        ("echo 'slow|t=3s'; exit 1", False, "slow", {"t": Metric(3.0, "s")}),
        ("echo '|t=3s'; exit 1", False, "ended with exit code 1", {"t": Metric(3.0, "s")}),
        ("echo 'OK|t=3s'; kill -9 $$", False, "was killed by SIGKILL: OK", {"t": Metric(3.0, "s")}),
    ],
)  # fmt: skip
def test_exit_codes_and_output(
    partition: Path, executable: Write, script: str, is_passed: bool, message: str, metrics: dict[str, Metric]
) -> None:
    found = sense(partition, executable("check", f"#!/bin/sh\n{script}\n"))
    assert (found.is_passed, found.message, found.metrics) == (is_passed, message, metrics)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'PING UNKNOWN - no host.'; exit 3", "ended with exit code 3: PING UNKNOWN - no host. It is UNKNOWN to the plugin: look at its arguments and at what it needs."),
        ("exec /nowhere/check 2>/dev/null", "ended with exit code 127. Something that it starts is not there: install it, or write its whole path."),
        ("exec /etc/passwd 2>/dev/null", "ended with exit code 126. Something that it starts may not be executed: make it executable."),
    ],
)  # fmt: skip
def test_what_could_not_look_is_an_error(partition: Path, executable: Write, script: str, message: str) -> None:
    path = executable("check", f"#!/bin/sh\n{script}\n")
    with pytest.raises(AllotmentError) as caught:
        sense(partition, path)
    assert str(caught.value) == message
