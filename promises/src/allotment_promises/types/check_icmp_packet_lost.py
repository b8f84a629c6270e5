# SPDX-License-Identifier: Apache-2.0
"""Promise: few packets to another machine get lost."""

import os
import socket
import statistics
import struct
import time
from dataclasses import dataclass
from typing import Any

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, number
_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}  # types of request and reply
_PROTOCOLS = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}


@dataclass(frozen=True)
class Options:
    address: str  # name or IP address
    count: int = 10  # packets that are sent
    threshold: float = 5.0  # percent of them that may get lost
    interval: float = 0.2  # seconds between two packets
    timeout: float = 2.0  # seconds that an answer may take

    def __post_init__(self) -> None:
        check_above_zero(count=self.count, interval=self.interval, timeout=self.timeout)
        if self.count > 1000:
            raise OptionProblem("count", f"{self.count} is above 1000", "Send fewer packets")
        if not 0 <= self.threshold < 100:
            raise OptionProblem("threshold", f"{self.threshold:g} is not from 0 to below 100", "Write percents")


class CheckIcmpPacketLost(GenericPromise[Options]):
    """Passes when of ``count`` echo requests at most ``threshold`` percent are not answered within ``timeout``.

    It takes ``count`` times ``interval`` seconds, and needs a kernel that lets the partition's group send such packets
    (``net.ipv4.ping_group_range``), as systemd sets it up.

    Metrics: ``loss`` as a share of 1, ``seconds`` until an answer, their median.
    """

    layer = Layer.NETWORK

    def target(self) -> str:
        return self.options.address

    def sense(self) -> Measurement:
        options = self.options
        try:
            found = socket.getaddrinfo(options.address, None, type=socket.SOCK_DGRAM)
            family, _, _, _, place = next(item for item in found if item[0] in _ECHO)
        except (OSError, UnicodeError, StopIteration) as error:
            return Measurement.failed(f"{options.address} can't be found: {error}")
        try:
            connection = socket.socket(family, socket.SOCK_DGRAM, _PROTOCOLS[family])
        except PermissionError as error:
            raise AllotmentError(
                "this user may not send ICMP packets", "Run: sysctl net.ipv4.ping_group_range='0 2147483647'"
            ) from error
        with connection:
            times = _Pinger(connection, family, place, options).run()
        lost = 100 * (1 - len(times) / options.count)
        metrics = {"loss": Metric(lost / 100, "1")}
        if times:
            metrics["seconds"] = Metric(statistics.median(times), "s")
        message = f"{options.address} leaves {lost:.0f} % of {options.count} packets unanswered"
        if lost > options.threshold:
            return Measurement.failed(f"{message}, expected at most {options.threshold:g} %", **metrics)
        return Measurement.passed(message, **metrics)


class _Pinger:
    """Sends echo requests and takes the times of their answers."""

    def __init__(self, connection: socket.socket, family: int, place: tuple[Any, ...], options: Options) -> None:
        self._connection = connection
        self._request, self._reply = _ECHO[socket.AddressFamily(family)]
        self._place = place
        self._options = options
        self._token = os.urandom(8)  # tells our packets from those of others
        self._sent: dict[int, float] = {}  # on the monotonic clock
        self._times: dict[int, float] = {}

    def run(self) -> list[float]:
        """Return the seconds of each packet that was answered in time."""
        options = self._options
        started = time.monotonic()
        for number in range(options.count):
            self._listen(started + number * options.interval)
            self._send(number)
        self._listen(time.monotonic() + options.timeout)
        return [seconds for seconds in self._times.values() if seconds <= options.timeout]

    def _send(self, number: int) -> None:
        # The kernel fills in checksum and identifier.
        packet = _HEADER.pack(self._request, 0, 0, 0, number) + self._token
        self._sent[number] = time.monotonic()
        try:
            self._connection.sendto(packet, self._place)
        except OSError:
            return  # there is no way there, or an answer said so: this one is lost

    def _listen(self, until: float) -> None:
        """Take answers until a moment, or until all that were sent last are answered."""
        while (left := until - time.monotonic()) > 0 and len(self._times) < self._options.count:
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(1024)
            except TimeoutError:
                return
            except OSError:
                continue  # an error that another machine reports of an earlier packet
            if len(data) >= _HEADER.size and data[_HEADER.size :] == self._token:
                kind, _, _, _, number = _HEADER.unpack(data[: _HEADER.size])
                if kind == self._reply and number in self._sent:
                    self._times.setdefault(number, time.monotonic() - self._sent[number])
