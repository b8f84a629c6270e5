# SPDX-License-Identifier: Apache-2.0
import sys
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MeasureInside = Callable[..., list[Measurement]]
PAIR = "ip link add near type veth peer name far\nip link set near up\nip link set far up"
SEND = f"""{sys.executable} -c "
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(('near', 0))
    for _ in range(1000):
        link.send(bytes(12) + b'\\x12\\x34' + bytes(1010))
" """


def _measure(measure_inside: MeasureInside, **options: Any) -> list[Measurement]:
    options = {"ifname": "near", "transit_period": 0.001, **options}
    return measure_inside("--net", PAIR, "check_network_transit", meanwhile=[SEND], **options)


def test_what_an_interface_carries_is_compared_with_before(measure_inside: MeasureInside) -> None:
    first, then = _measure(measure_inside)
    assert (first.is_passed, first.message) == (True, "interface near: not counted before, nothing to compare with")
    assert then.is_passed
    carried = then.metrics["carried"].value - first.metrics["carried"].value
    assert 1_024_000 <= carried < 1_100_000
    assert then.message.startswith("interface near carried 10")
    assert then.metrics["rate"].unit == "B/s"


def test_too_little_and_too_much_fail(measure_inside: MeasureInside) -> None:
    much = _measure(measure_inside, max_data_amount="500K")[1]
    assert not much.is_passed
    assert much.message.endswith(", expected at most 500.0 KiB in 0.001 s")
    little = _measure(measure_inside, min_data_amount="5M")[1]
    assert not little.is_passed
    assert little.message.endswith(", expected at least 5.0 MiB in 0.001 s")
    assert _measure(measure_inside, min_data_amount="500K", max_data_amount="5M")[1].is_passed


def test_a_period_that_is_not_covered_asks_for_its_part_only(measure_inside: MeasureInside) -> None:
    assert _measure(measure_inside, min_data_amount="5M", transit_period=86400)[1].is_passed


def test_all_interfaces_but_the_loop_count_together(measure_inside: MeasureInside) -> None:
    first, then = _measure(measure_inside, ifname="")
    carried = then.metrics["carried"].value - first.metrics["carried"].value
    assert carried >= 2 * 1_024_000, "both ends of the pair"
    assert then.message.startswith("all interfaces but lo carried 2.0 MiB in ")
    (none,) = measure_inside("--net", "ip link set lo up", "check_network_transit")
    assert none.message == "there is no interface but lo"


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="max-data-amount: '5 %' is a share"):
        make_promise("check_network_transit", max_data_amount="5 %")
