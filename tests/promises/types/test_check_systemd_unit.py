# SPDX-License-Identifier: Apache-2.0
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MeasureInside = Callable[..., list[Measurement]]
# It prints what systemctl 252 prints of units in these states; a systemd of its own no test can have.
SYSTEMCTL = """#!/bin/sh
test "$1 $2 $3" = "show --property=LoadState,ActiveState,SubState,Result,NRestarts --" || exit 9
case $4 in
web*) state='loaded active running success 2' ;;
backup*) state='loaded inactive dead success 0' ;;
broken*) state='loaded failed failed exit-code 5' ;;
slow*) sleep 60 ;;
*) state='not-found inactive dead success 0' ;;
esac
set -- $state
printf 'Result=%s\\nNRestarts=%s\\nLoadState=%s\\nActiveState=%s\\nSubState=%s\\n' $4 $5 $1 $2 $3
"""


@pytest.fixture
def judge(measure_inside: MeasureInside, tmp_path: Path) -> Callable[..., Measurement]:
    """Measure where the programs that are looked for first are a systemctl that knows some units."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)

    def run(**options: Any) -> Measurement:
        (found,) = measure_inside("--mount", "mount --bind bin /usr/local/bin", "check_systemd_unit", **options)
        return found

    return run


def test_states_of_units_are_judged(judge: Callable[..., Measurement]) -> None:
    web = "unit web.service is active (running, last result success)"
    assert judge(unit="web.service") == Measurement.passed(web, restarts=2)
    assert judge(unit="web.service", expect="inactive") == Measurement.failed(
        f"{web}, expected it to be inactive", restarts=2
    )
    backup = "unit backup.service is inactive (dead, last result success)"
    assert judge(unit="backup.service") == Measurement.failed(f"{backup}, expected it to be active", restarts=0)
    assert judge(unit="backup.service", expect="not-failed").is_passed
    assert judge(unit="backup.service", expect="inactive").is_passed
    broken = "unit broken is failed (failed, last result exit-code), expected it to be not-failed"
    assert judge(unit="broken", expect="not-failed") == Measurement.failed(broken, restarts=5)
    gone = "unit gone is not-found, expected it to be active"
    assert judge(unit="gone") == Measurement.failed(gone)


def test_systemd_that_does_not_answer_fails(judge: Callable[..., Measurement]) -> None:
    assert judge(unit="slow", timeout=0.2) == Measurement.failed("systemctl did not end within 0.2 s")


def test_machine_without_systemd_fails(measure_inside: MeasureInside) -> None:
    """The real systemctl, or none at all, where systemd can't be reached."""
    (found,) = measure_inside("--mount", "mount -t tmpfs tmpfs /run", "check_systemd_unit", unit="web")
    assert not found.is_passed
    assert found.message.startswith("systemctl ")
    if shutil.which("systemctl"):
        assert "ended with exit code 1: " in found.message


@pytest.mark.parametrize("unit", ["", "-x", "a b", "web;reboot", "a/b"])
def test_names_of_units_are_checked_early(make_promise: Callable[..., GenericPromise[Any]], unit: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_systemd_unit", unit=unit)
    assert str(caught.value) == f"unit: {unit!r} is no name of a unit. Write it like nginx.service."
