# SPDX-License-Identifier: Apache-2.0
"""Recipe ``free-port``: a port that nobody listens on, chosen once."""

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Final

from allotment.atomic import read_limited
from allotment.options import OptionProblem
from allotment_recipes.kept_value import LIMIT, KeptOptions, KeptValue

_TAKEN: Final = (errno.EADDRINUSE, errno.EACCES)


@dataclass(frozen=True, kw_only=True)
class Options(KeptOptions):
    ip: str  # IPv4 or IPv6 address of this machine
    minimum: int = 1024  # the lowest port that may be chosen
    maximum: int = 65535  # the highest
    port: str = ""  # used and kept instead, such as what publish-early gives back; nobody looks whether it is free


class Recipe(KeptValue[Options]):
    """Choose the lowest ``port`` of ``ip`` that is free for TCP, and keep it while it is in the range.

    A kept port is not looked at again: most likely it is our own service that listens there. Between the choice and
    the start of the service another program may take the port; the service then says so. Remove the file, and the next
    processing chooses again. Sections of one run never choose the same port.
    """

    result = "port"
    suffix = ".port"

    def prepare(self) -> None:
        options = self.options
        try:
            self.address = ipaddress.ip_address(options.ip)
        except ValueError as error:
            raise OptionProblem("ip", f"{options.ip!r} is not an IP address", "Write one of this machine") from error
        for option, port in (("minimum", options.minimum), ("maximum", options.maximum)):
            if not 0 < port < 65536:
                raise OptionProblem(option, f"{port} is not a port", "Write 1 to 65535")
        if options.minimum > options.maximum:
            raise OptionProblem(
                "maximum", f"{options.maximum} is less than minimum, {options.minimum}", "Exchange them"
            )
        super().prepare()
        self.run.ports.add((options.ip, int(self.value)))

    def make(self) -> str:
        low, high = self.options.minimum, self.options.maximum
        chosen = {str(port) for ip, port in self.run.ports if ip == self.options.ip} | self._kept_by_others()
        for port in range(low, high + 1):
            if str(port) not in chosen and self._is_free(port):
                return str(port)
        raise OptionProblem("maximum", f"no port of {self.options.ip} from {low} to {high} is free", "Widen the range")

    def text(self) -> str:
        return f"{self.options.ip} {self.value}"

    def value_in(self, text: str) -> str:
        """Return the port, unless it is another address's or was chosen by another section meanwhile."""
        address, _, port = text.partition(" ")
        is_ours = address == self.options.ip and bool(port) and not self.problem(port)
        return port if is_ours and (address, int(port)) not in self.run.ports else ""

    def _kept_by_others(self) -> set[str]:
        """Return the ports of other sections, whose services may be stopped just now."""
        texts = (read_limited(path, LIMIT) or b"" for path in self.file.parent.glob(f"*{self.suffix}"))
        kept = (text.decode(errors="replace").partition(" ") for text in texts)
        return {port.strip() for address, _, port in kept if address == self.options.ip}

    def problem(self, value: str) -> str:
        low, high = self.options.minimum, self.options.maximum
        is_port = value.isascii() and value.isdigit() and len(value) < 6 and low <= int(value) <= high
        return "" if is_port else f"{value!r} is not a port from {low} to {high}"

    def _is_free(self, port: int) -> bool:
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections don't take it
            try:
                listener.bind((self.options.ip, port))
                listener.listen()
            except OSError as error:
                if error.errno in _TAKEN:
                    return False
                reason = os.strerror(error.errno or 0)
                raise OptionProblem("ip", f"{self.options.ip}: {reason}", "Write an address of this machine") from error
        return True
