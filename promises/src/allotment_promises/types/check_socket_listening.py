# SPDX-License-Identifier: Apache-2.0
"""Promise: a TCP port or a unix socket accepts connections."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, check_given_together, check_one_given
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero, check_port


@dataclass(frozen=True)
class Options:
    host: str = ""  # name or IP address
    port: int | None = None  # TCP port
    timeout: float = 5.0  # seconds
    pathname: Path | None = None  # unix socket instead of host and port, relative to the partition
    abstract: bool = False  # pathname is a name in the kernel (an abstract socket), not in the file system

    def __post_init__(self) -> None:
        check_one_given(host=self.host, pathname=self.pathname)
        if self.pathname is None:
            check_given_together(host=self.host, port=self.port is not None)
        elif self.port is not None:
            raise OptionProblem("pathname, port", "a unix socket has no port", "Remove one of the two")
        if self.port is not None:
            check_port(self.port)
        if self.abstract and self.pathname is None:
            raise OptionProblem("abstract", "only a unix socket can be abstract", "Give pathname, or leave it out")
        check_above_zero(timeout=self.timeout)


class CheckSocketListening(GenericPromise[Options]):
    """Passes when ``host:port``, or the unix socket ``pathname``, accepts a connection within ``timeout``.

    Metrics: ``seconds`` until the connection was there.
    """

    layer = Layer.PORT

    def target(self) -> str:
        if self.options.pathname is None or self.options.abstract:
            return self._place()
        return str(self.partition / self.options.pathname)

    def sense(self) -> Measurement:
        place = self._place()
        started = time.monotonic()
        try:
            self._connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name with an empty or too long label
            return Measurement.failed(f"{place}: {error}")
        return Measurement.passed(f"{place} accepts connections", seconds=Metric(time.monotonic() - started, "s"))

    def _place(self) -> str:
        """Return what is asked, for people."""
        if self.options.pathname is None:
            return f"{self.options.host}:{self.options.port}"
        return f"{'@' if self.options.abstract else ''}{self.options.pathname}"

    def _connect(self) -> None:
        options = self.options
        if options.pathname is None:
            socket.create_connection((options.host, options.port or 0), options.timeout).close()
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(options.timeout)
            if options.abstract:
                connection.connect(f"\0{options.pathname}")
                return
            path = self.partition / options.pathname
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
            try:  # by its folder's handle: a socket's address has at most 107 bytes, a path may have more
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
