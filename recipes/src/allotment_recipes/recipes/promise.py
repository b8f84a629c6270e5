# SPDX-License-Identifier: Apache-2.0
"""Recipe ``promise``: a check that the node makes again and again."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from allotment.codec import dumps
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")


@dataclass(frozen=True)
class Options:
    promise: str  # the promise type
    name: str = ""  # the promise's name; default: the section's
    period: float = 60.0  # seconds between two runs
    timeout: float = 20.0  # seconds after which a run counts as failed
    config: dict[str, str] = rest("config-")  # config-<option>: an option of the promise type


class Recipe(GenericBaseRecipe[Options]):
    """Write ``etc/promise/<name>.json``. The promise's own options are checked where promises run."""

    def prepare(self) -> None:
        self.promise_name = self.options.name or self.name
        if not _NAME.fullmatch(self.promise_name):
            raise OptionProblem(
                "name", f"{self.promise_name!r} is not a promise's name", "Use letters, digits, '-', '.', '_'"
            )
        try:
            self.document = PromiseFile(
                type=self.options.promise,
                options=self.run.tokens.restore(dict(self.options.config)),
                period=self.options.period,
                timeout=self.options.timeout,
            )
        except ValueError as error:
            raise OptionProblem("period", str(error), "Write seconds, like 60") from error

    def install(self) -> list[Path]:
        """Write the promise file; one that holds a secret is private."""
        text = json.dumps(json.loads(dumps(self.document)), indent=2, ensure_ascii=False) + "\n"
        has_secret = any(not isinstance(value, str) for value in self.document.options.values())
        return [self.write(f"etc/promise/{self.promise_name}.json", text, 0o644, private=has_secret)]
