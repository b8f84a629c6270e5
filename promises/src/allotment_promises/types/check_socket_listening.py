# SPDX-License-Identifier: Apache-2.0
"""Promise: a TCP port accepts connections."""

import socket
from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement


@dataclass(frozen=True)
class Options:
    host: str  # name or IP address
    port: int  # TCP port
    timeout: float = 5.0  # seconds

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise OptionProblem("port", f"{self.port} is no TCP port", "Write one between 1 and 65535")


class CheckSocketListening(GenericPromise[Options]):
    """Passes when ``host:port`` accepts a TCP connection within ``timeout``."""

    layer = Layer.PORT

    def target(self) -> str:
        return f"{self.options.host}:{self.options.port}"

    def sense(self) -> Measurement:
        place = self.target()
        try:
            socket.create_connection((self.options.host, self.options.port), self.options.timeout).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name with an empty or too long label
            return Measurement.failed(f"{place}: {error}")
        return Measurement.passed(f"{place} accepts connections")
