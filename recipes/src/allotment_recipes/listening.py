# SPDX-License-Identifier: Apache-2.0
"""Where a service listens: options that are checked before they stand in its configuration."""

import ipaddress
import re
from pathlib import Path
from typing import Final

from allotment.options import OptionProblem

_SCOPE: Final = re.compile(r"[A-Za-z0-9_.-]+")  # the network interface after the % of an IPv6 address
_LONGEST: Final = 107  # bytes of a unix socket's path


def read_address(option: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address; a name of a host is none, as it may come to mean another address."""
    try:
        address = ipaddress.ip_address(text)
        scope = getattr(address, "scope_id", None)
        if scope is not None and not _SCOPE.fullmatch(scope):  # else anything could follow the %
            raise ValueError(scope)
    except ValueError as error:
        raise OptionProblem(option, f"{text!r} is not an address", "Write it like 127.0.0.1") from error
    return address


def check_port(option: str, port: int) -> None:
    """Raise for a number that is not a port's."""
    if not 1 <= port <= 65535:
        raise OptionProblem(option, f"{port} is not a port", "Write a number from 1 to 65535")


def check_socket(option: str, path: Path | str) -> None:
    """Raise for a path that is longer than the system allows for a unix socket."""
    if len(str(path).encode()) > _LONGEST:
        raise OptionProblem(option, f"{path} is too long for a socket", "Choose a shorter path")
