# SPDX-License-Identifier: Apache-2.0
"""Recipe ``random.uuid``: a UUID that is made once."""

import uuid
from dataclasses import dataclass

from allotment_recipes.kept_value import KeptOptions, KeptValue


@dataclass(frozen=True, kw_only=True)
class Options(KeptOptions):
    uuid: str = ""  # used and kept instead, such as what publish-early gives back


class Recipe(KeptValue[Options]):
    """Make ``uuid``, a random one, and keep it."""

    result = "uuid"

    def make(self) -> str:
        return str(uuid.uuid4())

    def problem(self, value: str) -> str:
        try:
            uuid.UUID(value)
        except ValueError:
            return f"{value!r} is not a UUID"
        return ""
