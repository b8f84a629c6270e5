# SPDX-License-Identifier: Apache-2.0
"""The packets go round in a network of the test's own, which stops answering when told to."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Inside = Callable[..., Sequence[Measurement]]
FLAGS = "--net"
SETUP = "ip link set lo up; echo '0 0' > /proc/sys/net/ipv4/ping_group_range"
DEAF = "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all"
# Once five packets have come in, which are requests and replies, nothing is answered any more.
COUNT = "awk '/^Icmp:/ && ++seen == 2 {print $2}' /proc/net/snmp"
DEAF_SOON = f"(for try in $(seq 3000); do [ $({COUNT}) -lt 5 ] || break; sleep 0.01; done; {DEAF}) >&2 &"
PING = {"interval": 0.05, "timeout": 0.5}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_answers_pass(measure_inside: Inside, address: str) -> None:
    (measured,) = measure_inside(FLAGS, SETUP, "check_icmp_packet_lost", address=address, count=5, interval=0.05)
    assert (measured.is_passed, measured.message) == (True, f"{address} leaves 0 % of 5 packets unanswered")
    assert measured.metrics["loss"].value == 0
    assert 0 < measured.metrics["seconds"].value < 2


def test_silence_fails(measure_inside: Inside) -> None:
    options = {"address": "127.0.0.1", "count": 5, **PING}
    (measured,) = measure_inside(FLAGS, f"{SETUP}; {DEAF}", "check_icmp_packet_lost", **options)
    expected = "127.0.0.1 leaves 100 % of 5 packets unanswered, expected at most 5 %"
    assert (measured.is_passed, measured.message) == (False, expected)
    assert "seconds" not in measured.metrics


def test_the_share_that_gets_lost_counts(measure_inside: Inside) -> None:
    options = {"address": "127.0.0.1", "count": 40, "interval": 0.1, "timeout": 0.5}
    (measured,) = measure_inside(FLAGS, f"{SETUP}; {DEAF_SOON}", "check_icmp_packet_lost", **options)
    assert not measured.is_passed
    assert 0 < measured.metrics["loss"].value < 1
    assert measured.metrics["loss"].unit == "1"


def test_no_way_there_is_loss(measure_inside: Inside) -> None:
    options = {"address": "192.0.2.1", "count": 2, **PING}
    (measured,) = measure_inside(FLAGS, SETUP, "check_icmp_packet_lost", **options)
    assert measured.metrics["loss"].value == 1


def test_who_may_not_send_is_told_what_to_do(measure_inside: Inside) -> None:
    with pytest.raises(AssertionError, match="this user may not send ICMP packets"):
        measure_inside(FLAGS, "ip link set lo up", "check_icmp_packet_lost", address="127.0.0.1")


def test_a_name_without_address_fails(measure: Callable[..., Measurement]) -> None:
    measured = measure("check_icmp_packet_lost", address="x" * 300)
    assert not measured.is_passed
    assert " can't be found: " in measured.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count: 0 is not above zero. Write it like 5."),
        ({"count": 10000}, "count: 10000 is above 1000. Send fewer packets."),
        ({"threshold": 100}, "threshold: 100 is not from 0 to below 100. Write percents."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_icmp_packet_lost", address="host", **options)
    assert str(caught.value) == message
