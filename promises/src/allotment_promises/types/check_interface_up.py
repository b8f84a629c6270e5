# SPDX-License-Identifier: Apache-2.0
"""Promise: a network interface is up and has a carrier."""

from dataclasses import dataclass

import psutil

from allotment.errors import nearest
from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric


@dataclass(frozen=True)
class Options:
    ifname: str  # network interface, such as eth0
    minimum_speed: int = 0  # megabits per second that it must have come to terms about; 0: any

    def __post_init__(self) -> None:
        if not self.ifname:
            raise OptionProblem("ifname", "is empty", "Write the name of an interface, such as eth0")
        if self.minimum_speed < 0:
            raise OptionProblem("minimum-speed", f"{self.minimum_speed} is below zero", "Write 0 or more")


class CheckInterfaceUp(GenericPromise[Options]):
    """Passes while the network interface ``ifname`` is switched on and its other end is there.

    Metrics: ``speed`` in bits a second, where it is known.
    """

    layer = Layer.NETWORK

    def target(self) -> str:
        return self.options.ifname

    def sense(self) -> Measurement:
        name = self.options.ifname
        interfaces = psutil.net_if_stats()
        found = interfaces.get(name)
        if found is None:
            return Measurement.failed(f"there is no interface {name}. {nearest(name, tuple(interfaces))}")
        if not found.isup:
            reason = "has no carrier" if "up" in found.flags.split(",") else "is switched off"
            return Measurement.failed(f"interface {name} {reason}, expected it to be up")
        metrics = {"speed": Metric(found.speed * 1e6, "bit/s")} if found.speed else {}
        speed = f" with {found.speed} Mbit/s" if found.speed else ""
        if found.speed < self.options.minimum_speed:
            expected = f"expected at least {self.options.minimum_speed} Mbit/s"
            return Measurement.failed(
                f"interface {name} is up{speed or ' with an unknown speed'}, {expected}", **metrics
            )
        return Measurement.passed(f"interface {name} is up{speed}", **metrics)
