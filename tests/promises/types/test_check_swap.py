# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MeasureInside = Callable[..., list[Measurement]]
# A machine with 1 GiB of swap, of which 256 MiB are used, in place of this one's state
SWAP = """
sed 's/^SwapTotal:.*/SwapTotal: 1048576 kB/; s/^SwapFree:.*/SwapFree: 786432 kB/' /proc/meminfo > meminfo
printf 'pgfault 1\\npswpin 1000\\npswpout 2000\\n' > vmstat
mount --bind meminfo /proc/meminfo
mount --bind vmstat /proc/vmstat
"""


def test_used_swap_is_judged(measure_inside: MeasureInside) -> None:
    (good,) = measure_inside("--mount", SWAP, "check_swap")
    assert (good.is_passed, good.message) == (True, "256.0 MiB of 1.0 GiB of swap used")
    assert good.metrics["used"].value == 256 << 20
    (bad,) = measure_inside("--mount", SWAP, "check_swap", maximum_used="20 %")
    assert (bad.is_passed, bad.message) == (False, "256.0 MiB of 1.0 GiB of swap used, expected at most 20 % used")


def test_what_is_moved_to_and_fro_is_judged(measure_inside: MeasureInside) -> None:
    thrash = "printf 'pgfault 1\\npswpin 900000\\npswpout 2000\\n' > vmstat"
    first, busy = measure_inside("--mount", SWAP, "check_swap", meanwhile=[thrash], maximum_rate="1K")
    assert first.is_passed
    assert not busy.is_passed
    assert busy.message.endswith(", expected at most 1.0 KiB/s")
    assert busy.metrics["rate"].unit == "B/s"
    _, calm = measure_inside("--mount", SWAP, "check_swap", meanwhile=["true"], maximum_rate="1K")
    assert calm.is_passed


def test_machine_without_swap_passes(measure_inside: MeasureInside) -> None:
    none = (
        "sed 's/^Swap\\([A-Z][a-z]*\\):.*/Swap\\1: 0 kB/' /proc/meminfo > meminfo; mount --bind meminfo /proc/meminfo"
    )
    (measured,) = measure_inside("--mount", none, "check_swap")
    assert (measured.is_passed, measured.message) == (True, "the machine has no swap")


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match=r"maximum-rate: '5 %' is a share\. Write it like 4M"):
        make_promise("check_swap", maximum_rate="5 %")
