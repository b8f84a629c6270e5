# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MeasureInside = Callable[..., list[Measurement]]
PAIR = "ip link add near type veth peer name far\nip link set near up\nip link set far up"


def test_interface_is_followed_as_it_goes_up_and_down(measure_inside: MeasureInside) -> None:
    changes = [
        "ip link set far down",
        "ip link set near down",
        "ip link set near up; ip link set far up",
        "ip link del near",
    ]
    found = measure_inside("--net", PAIR, "check_interface_up", meanwhile=changes, ifname="near")
    assert [(item.is_passed, item.message.split(" with ")[0]) for item in found] == [
        (True, "interface near is up"),
        (False, "interface near has no carrier, expected it to be up"),
        (False, "interface near is switched off, expected it to be up"),
        (True, "interface near is up"),
        (False, "there is no interface near. Valid: lo"),
    ]


def test_speed_is_judged(measure_inside: MeasureInside) -> None:
    (slow,) = measure_inside("--net", PAIR, "check_interface_up", ifname="near", minimum_speed=1_000_000)
    assert slow.message == "interface near is up with 10000 Mbit/s, expected at least 1000000 Mbit/s"
    assert (slow.metrics["speed"].value, slow.metrics["speed"].unit) == (1e10, "bit/s")
    (fine,) = measure_inside("--net", PAIR, "check_interface_up", ifname="near", minimum_speed=1000)
    assert fine.is_passed
    (unknown,) = measure_inside("--net", "ip link set lo up", "check_interface_up", ifname="lo", minimum_speed=1)
    assert unknown.message == "interface lo is up with an unknown speed, expected at least 1 Mbit/s"


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="ifname: is empty"):
        make_promise("check_interface_up", ifname="")
