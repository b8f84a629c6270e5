# SPDX-License-Identifier: Apache-2.0
"""The password of a service: the one that its section is given, or one that is made once and kept on the node."""

import secrets
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe

_LIMIT: Final = 4096  # bytes of the file
_RANDOM_BYTES: Final = 20  # in hexadecimal, so that it needs no quoting anywhere


def service_password(option: str, given: Secret | None, file: Path) -> Secret:
    """Return the given password, unless empty, or the one that ``file`` keeps, or a new one; ``keep`` writes it."""
    if given is not None and given.reveal():
        if not given.reveal().isprintable():
            raise OptionProblem(option, "holds characters that can't be typed", "Use letters, digits and signs")
        return given
    kept = (read_limited(file, _LIMIT) or b"").decode(errors="replace").strip()
    if kept and (not kept.isprintable() or "\ufffd" in kept):
        raise OptionProblem(option, f"{file} holds no password", "Remove it for a new one, or write one line")
    return Secret(kept or secrets.token_hex(_RANDOM_BYTES))


def keep(recipe: GenericBaseRecipe[Any], password: Secret, file: Path) -> None:
    """Write the password to its file, which outlives the section as the data does that needs it."""
    recipe.write(file, f"{password.reveal()}\n", 0o600, private=True)
