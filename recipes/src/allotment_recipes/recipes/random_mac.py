# SPDX-License-Identifier: Apache-2.0
"""Recipe ``random.mac``: a hardware address that is chosen once."""

import re
import secrets
from dataclasses import dataclass

from allotment_recipes.kept_value import KeptOptions, KeptValue


@dataclass(frozen=True, kw_only=True)
class Options(KeptOptions):
    mac_address: str = ""  # used and kept instead, such as what publish-early gives back


class Recipe(KeptValue[Options]):
    """Choose ``mac-address``, locally administered and of one station, and keep it: for a virtual machine."""

    result = "mac-address"

    def make(self) -> str:
        first, *others = secrets.token_bytes(6)
        local = (first | 0b10) & ~0b1  # of the two lowest bits one says local, the other that it is no group
        return ":".join(f"{byte:02x}" for byte in (local, *others))

    def problem(self, value: str) -> str:
        is_address = re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value)
        return "" if is_address else f"{value!r} is not an address like 02:00:5e:10:00:01"
