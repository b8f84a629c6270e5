# SPDX-License-Identifier: Apache-2.0
"""Recipe ``password``: a password that is made once and stays on the node."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe

_LIMIT: Final = 4096  # bytes of the file
_RANDOM_BYTES: Final = 20  # in hexadecimal, so that it needs no quoting anywhere


@dataclass(frozen=True)
class Options:
    file: Path  # where the password is kept, readable by its owner only
    given: Secret | None = None  # used instead, unless empty; the file stays as it is


class Recipe(GenericBaseRecipe[Options]):
    """Keep a random password in ``file``; others refer to it, or to the given one, as ``${section:password}``.

    The file is data: it stays when the section goes. Whoever removes it gets another password at the next processing.
    """

    def prepare(self) -> None:
        self.file = self.path(self.options.file)
        self.given = self.options.given.reveal() if self.options.given is not None else ""
        self.password = self.given or self._kept() or secrets.token_hex(_RANDOM_BYTES)
        self.publish_option("password", self.run.tokens.token(Secret(self.password)))

    def install(self) -> list[Path]:
        """Write the password, also when it is there: then only its permissions may change."""
        if not self.given:
            self.write(self.file, f"{self.password}\n", 0o600, private=True)
        return []

    def _kept(self) -> str:
        """Return the password that was made before, or nothing."""
        data = read_limited(self.file, _LIMIT)
        if data is None:
            return ""
        try:
            text = data.decode().strip()
        except UnicodeDecodeError:
            text = ""
        if not text or not text.isprintable():
            raise OptionProblem("file", f"{self.file} holds no password", "Remove it for a new one, or write one line")
        return text
