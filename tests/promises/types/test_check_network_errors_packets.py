# SPDX-License-Identifier: Apache-2.0
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem, parse_options
from allotment_promises import GenericPromise, Measurement
from allotment_promises.types.check_network_errors_packets import Options

MeasureInside = Callable[..., list[Measurement]]
PAIR = "ip link add near type veth peer name far\nip link set near up\nip link set far up"
# nobody takes frames of this kind: the kernel drops them at the far end
SEND = f"""{sys.executable} -c "
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(('near', 0))
    for _ in range(200):
        link.send(b'\\xff' * 6 + bytes(6) + b'\\x12\\x34' + bytes(100))
" """


def test_dropped_packets_are_compared_with_what_was_carried(measure_inside: MeasureInside) -> None:
    first, bad = measure_inside("--net", PAIR, "check_network_errors_packets", meanwhile=[SEND], ifname="far")
    assert (first.is_passed, first.message) == (True, "interface far: not counted before, nothing to compare with")
    assert not bad.is_passed
    assert bad.metrics["dropped"].value - first.metrics["dropped"].value == pytest.approx(200, abs=20)
    assert bad.message.startswith("interface far dropped ")
    assert bad.message.endswith(", expected at most 100 dropped for each megabyte")


def test_tolerated_losses_pass(measure_inside: MeasureInside) -> None:
    _, fine = measure_inside(
        "--net", PAIR, "check_network_errors_packets", meanwhile=[SEND], ifname="far", max_lost_packets_per_MB=300
    )
    assert fine.is_passed


def test_damaged_packets_fail(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    """Packets can't be damaged at will: the past says that there were fewer."""
    promise = make_promise("check_network_errors_packets", ifname="lo")
    now = promise.sense().metrics
    promise.series = lambda name, seconds: [(time.time() - 60, now[name].value - 500 * (name == "damaged"))]
    measured = promise.sense()
    assert not measured.is_passed
    assert measured.message.endswith(", expected at most 100 damaged for each megabyte")


def test_interface_that_is_gone_fails(measure_inside: MeasureInside) -> None:
    first, gone = measure_inside(
        "--net", PAIR, "check_network_errors_packets", meanwhile=["ip link del near"], ifname="near"
    )
    assert first.is_passed
    assert gone == Measurement.failed("there is no interface near")


def test_options_have_the_names_of_slapos() -> None:
    options = parse_options(Options, {"max-lost-packets-per-MB": "5", "max-error-messages-per-MB": "6"})
    assert (options.max_lost_packets_per_MB, options.max_error_messages_per_MB) == (5.0, 6.0)


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="max-lost-packets-per-MB: -1 is below zero"):
        make_promise("check_network_errors_packets", max_lost_packets_per_MB=-1)
