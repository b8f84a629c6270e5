# SPDX-License-Identifier: Apache-2.0
"""Promise: nobody can connect to a TCP port."""

import socket
from dataclasses import dataclass

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.limits import check_above_zero, check_port


@dataclass(frozen=True)
class Options:
    host: str  # name or IP address
    port: int  # TCP port that must not accept connections
    timeout: float = 2.0  # seconds after which silence counts as closed

    def __post_init__(self) -> None:
        check_port(self.port)
        check_above_zero(timeout=self.timeout)


class CheckPortClosed(GenericPromise[Options]):
    """Passes when ``host:port`` accepts no connection from here: it refuses, or stays silent for ``timeout``."""

    layer = Layer.PORT

    def target(self) -> str:
        return f"{self.options.host}:{self.options.port}"

    def sense(self) -> Measurement:
        place = self.target()
        try:
            socket.create_connection((self.options.host, self.options.port), self.options.timeout).close()
        except (socket.gaierror, UnicodeError) as error:
            return Measurement.failed(f"{place}: its host can't be found: {error}")
        except OSError as error:
            return Measurement.passed(f"{place} accepts no connection: {error.strerror or error}")
        return Measurement.failed(f"{place} accepts connections, expected to be closed")
