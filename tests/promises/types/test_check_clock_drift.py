# SPDX-License-Identifier: Apache-2.0
import contextlib
import ctypes
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement
from allotment_promises.sensing.clocks import ClockProblem, Drift, _offset, _seconds, parse_tracking

Measure = Callable[..., Measurement]
EPOCH = 2208988800  # seconds from 1900 to 1970
# what chronyc 4.3 printed of a server that was 0.25 s ahead
TRACKING = (
    "7F000001,127.0.0.1,2,1795443147.229888410,0.250031352,0.000001685,0.000022047,"
    "21.129,15.538,168.568,0.000150376,0.000261211,0.3,Normal"
)
CHRONYC = "mkdir bin\nprintf '#!/bin/sh\\necho {}' > bin/chronyc\nchmod +x bin/chronyc\nmount --bind bin /usr/local/bin"


@dataclass
class Server:
    """A small SNTP server; its clock is ``ahead`` seconds of this machine's."""

    socket: socket.socket
    ahead: float = 0.0
    stratum: int = 1
    first: int = 0x24  # leap indicator, version, mode
    silent: bool = False
    forgetful: bool = False  # does not send back what it was asked with

    @property
    def options(self) -> dict[str, Any]:
        return {"server": "127.0.0.1", "port": self.socket.getsockname()[1], "timeout": 0.3 if self.silent else 10}

    def run(self) -> None:
        while True:
            data, address = self.socket.recvfrom(512)
            if not data:
                return
            now = _stamp(time.time() + self.ahead)
            head = struct.pack("!BBbb8x4s8x", self.first, self.stratum, 6, -20, b"RATE")
            if not self.silent:
                self.socket.sendto(head + (bytes(8) if self.forgetful else data[40:48]) + now + now, address)


def _stamp(moment: float) -> bytes:
    return struct.pack("!II", (int(moment) + EPOCH) % (1 << 32), int(moment % 1 * (1 << 32)))


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        made = Server(listening)
        thread = threading.Thread(target=made.run)
        thread.start()
        yield made
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", listening.getsockname())
        thread.join(10)


def test_clock_is_compared_with_a_server(measure: Measure, server: Server) -> None:
    right = measure("check_clock_drift", maximum_drift=30, **server.options)
    assert right.is_passed
    assert abs(right.metrics["drift"].value) < 30
    server.ahead = 9000.0
    behind = measure("check_clock_drift", **server.options)
    assert not behind.is_passed
    assert behind.metrics["drift"].value == pytest.approx(-9000, abs=30)
    place = f"127.0.0.1:{server.options['port']}"
    assert behind.message == f"the clock is 2.5 h behind NTP server {place}, expected at most 0.5 s"
    server.ahead = -9000.0
    ahead = measure("check_clock_drift", **server.options)
    assert ahead.message == f"the clock is 2.5 h ahead of NTP server {place}, expected at most 0.5 s"


@pytest.mark.parametrize(
    ("server_options", "problem"),
    [
        ({"stratum": 0}, " refuses: RATE"),
        ({"first": 0xE4}, " has no right time itself"),
        ({"first": 0x23}, " gave no answer of NTP to what it was asked"),
        ({"forgetful": True}, " gave no answer of NTP to what it was asked"),
        ({"silent": True}, ": timed out"),
    ],
)
def test_server_that_can_not_be_relied_on_fails(
    measure: Measure, server: Server, server_options: dict[str, Any], problem: str
) -> None:
    vars(server).update(server_options)
    measured = measure("check_clock_drift", **server.options)
    assert measured == Measurement.failed(f"NTP server 127.0.0.1:{server.options['port']}{problem}")


@given(st.binary(max_size=80))
def test_any_answer_is_a_time_or_a_problem(data: bytes) -> None:
    with contextlib.suppress(ClockProblem):
        assert abs(_offset(data, b"12345678", 1e9, 1e9, "server")) <= 1 << 31


def test_times_are_of_the_nearest_era() -> None:
    later = 2_200_000_000.0  # in 2039 the counter of NTP has begun again
    assert _seconds(_stamp(later), later + 5) == later


def test_chrony_is_asked_where_it_runs(measure_inside: Callable[..., list[Measurement]]) -> None:
    setup = CHRONYC.format(TRACKING)
    (right,) = measure_inside("--mount", setup, "check_clock_drift")
    assert (right.is_passed, right.message) == (True, "the clock is 0.25 s behind chrony")
    (wrong,) = measure_inside("--mount", setup.replace("mkdir", "mkdir -p"), "check_clock_drift", maximum_drift=0.2)
    assert (wrong.is_passed, wrong.message) == (False, "the clock is 0.25 s behind chrony, expected at most 0.2 s")


def test_what_chrony_tells_is_understood() -> None:
    assert parse_tracking(TRACKING + "\n") == Drift(-0.250031352, "chrony")
    with pytest.raises(ClockProblem, match="chrony follows no server"):
        parse_tracking("00000000,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised")
    with pytest.raises(ClockProblem, match="chronyc tells 'nan', expected a number of seconds"):
        parse_tracking(TRACKING.replace("0.250031352", "nan"))


@given(st.text(max_size=80) | st.lists(st.text(max_size=5), min_size=14, max_size=14).map(",".join))
def test_whatever_chrony_tells_is_a_drift_or_a_problem(text: str) -> None:
    with contextlib.suppress(ClockProblem):
        assert math.isfinite(parse_tracking(text).seconds)


def test_kernel_is_asked_where_no_chrony_answers(measure_inside: Callable[..., list[Measurement]]) -> None:
    timex = (ctypes.c_long * 60)()
    unsynchronised = ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) == 5
    refuses = CHRONYC.format("506 Cannot talk to daemon; exit 1")
    (measured,) = measure_inside("--mount", refuses, "check_clock_drift", maximum_drift=60)
    assert measured.is_passed is not unsynchronised
    expected = "no program keeps the clock right: " if unsynchronised else "the kernel"
    assert expected in measured.message


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="port: 0 is no UDP port"):
        make_promise("check_clock_drift", port=0)
    with pytest.raises(OptionProblem, match="maximum-drift: 0 is not above zero"):
        make_promise("check_clock_drift", maximum_drift=0)
