# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine's clock is right."""

from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.clocks import NTP_PORT, ClockProblem, Drift, ask_chrony, ask_kernel, ask_server
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    maximum_drift: float = 0.5  # seconds by which the clock may be off, either way
    server: str = ""  # host of an NTP server to compare with; empty: what keeps the clock right here is asked
    port: int = NTP_PORT  # of the server
    timeout: float = 5.0  # seconds

    def __post_init__(self) -> None:
        check_above_zero(maximum_drift=self.maximum_drift, timeout=self.timeout)
        if not 0 < self.port < 65536:
            raise OptionProblem("port", f"{self.port} is no UDP port", "Write one between 1 and 65535")


class CheckClockDrift(GenericPromise[Options]):
    """Passes while the clock is off by at most ``maximum-drift``.

    Without ``server`` chrony's daemon is asked if there is one, else the kernel, whom ntpd, systemd-timesyncd and
    others tell how right they keep it. A clock that nobody keeps right fails.

    Metrics: ``drift``, seconds by which the clock is ahead.
    """

    layer = Layer.HOST

    def target(self) -> str:
        return f"{self.options.server}:{self.options.port}" if self.options.server else ""

    def sense(self) -> Measurement:
        try:
            found = self._ask()
        except ClockProblem as problem:
            return Measurement.failed(str(problem))
        drift = Metric(found.seconds, "s")
        way = "ahead of" if found.seconds > 0 else "behind"
        text = f"the clock is {show_seconds(abs(found.seconds))} {way} {found.source}"
        if abs(found.seconds) > self.options.maximum_drift:
            return Measurement.failed(
                f"{text}, expected at most {show_seconds(self.options.maximum_drift)}", drift=drift
            )
        return Measurement.passed(text, drift=drift)

    def _ask(self) -> Drift:
        if self.options.server:
            return ask_server(self.options.server, self.options.port, self.options.timeout)
        return ask_chrony(self.options.timeout) or ask_kernel()
