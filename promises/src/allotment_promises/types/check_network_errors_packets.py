# SPDX-License-Identifier: Apache-2.0
"""Promise: a network interface loses few packets."""

import time
from dataclasses import dataclass

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_bytes, show_seconds
from allotment_promises.sensing.counters import growth
from allotment_promises.sensing.interfaces import counted, missing, shown
from allotment_promises.sensing.limits import check_above_zero, check_not_below_zero

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Options:
    ifname: str = ""  # network interface; empty: all together but the machine's own loop
    max_lost_packets_per_MB: float = 100.0  # packets that may be dropped for each megabyte carried
    max_error_messages_per_MB: float = 100.0  # packets that may be damaged for each megabyte carried
    period: float = 600.0  # seconds back that are looked at

    def __post_init__(self) -> None:
        check_not_below_zero(
            max_lost_packets_per_MB=self.max_lost_packets_per_MB,
            max_error_messages_per_MB=self.max_error_messages_per_MB,
        )
        check_above_zero(period=self.period)


class CheckNetworkErrorsPackets(GenericPromise[Options]):
    """Passes while ``ifname`` drops and damages few packets for what it carries.

    The counters of the kernel are compared with those of this promise's past; in its first run it passes. Less than a
    megabyte counts as one.

    Metrics: ``carried`` in bytes, ``dropped`` and ``damaged`` packets, all since the machine has started.
    """

    layer = Layer.NETWORK
    only = "anomaly"

    def target(self) -> str:
        return self.options.ifname

    def sense(self) -> Measurement:
        options = self.options
        found = counted(options.ifname)
        if found is None:
            return Measurement.failed(missing(options.ifname))
        counts = {"carried": found.bytes, "dropped": found.dropped, "damaged": found.damaged}
        metrics = {
            "carried": Metric(found.bytes, "B"),
            "dropped": Metric(found.dropped),
            "damaged": Metric(found.damaged),
        }
        now = time.time()
        past = {name: growth(self.series(name, options.period), now, value) for name, value in counts.items()}
        carried, dropped, damaged = past["carried"], past["dropped"], past["damaged"]
        if carried is None or dropped is None or damaged is None:
            return Measurement.passed(
                f"{shown(options.ifname)}: not counted before, nothing to compare with", **metrics
            )
        text = (
            f"{shown(options.ifname)} dropped {dropped[0]:g} and damaged {damaged[0]:g} packets"
            f" while it carried {show_bytes(carried[0])} in {show_seconds(carried[1])}"
        )
        megabytes = max(carried[0] / _MEGABYTE, 1.0)
        if dropped[0] / megabytes > options.max_lost_packets_per_MB:
            expected = f"expected at most {options.max_lost_packets_per_MB:g} dropped for each megabyte"
            return Measurement.failed(f"{text}, {expected}", **metrics)
        if damaged[0] / megabytes > options.max_error_messages_per_MB:
            expected = f"expected at most {options.max_error_messages_per_MB:g} damaged for each megabyte"
            return Measurement.failed(f"{text}, {expected}", **metrics)
        return Measurement.passed(text, **metrics)
