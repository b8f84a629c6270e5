# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write them: ``2G``, ``512 MB``, ``1.5GiB``."""

import re
from typing import Final

from allotment.errors import AllotmentError

_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,3})?) ?(?:([KMGT])(i?))?B?", re.ASCII | re.IGNORECASE)
_UNITS: Final = "KMGT"


def parse(text: str) -> int:
    """Return a size in bytes; K, M, G and T are powers of 1000, and with an ``i`` of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise AllotmentError(f"{text!r} is no size", "Write it like 2G, 512M or 1.5GiB")
    number, unit, binary = match.groups()
    power = _UNITS.index(unit.upper()) + 1 if unit else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def shown(size: int) -> str:
    """Return a size for people, such as ``1.5 GB``."""
    for power in range(len(_UNITS), 0, -1):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {_UNITS[power - 1]}B"
    return f"{size} B"
