# SPDX-License-Identifier: Apache-2.0
"""Recipe ``publish``: connection parameters for whoever requested this instance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError, nearest
from allotment.options import OptionProblem, rest
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.values import strict_json, value_of

_OWN: Final = ("-shared", "-slave-reference", "-extends", "-publish", "-serialisation", "-error-status-file")
_SERIALISATIONS: Final = ("text", "json", "json-in-xml")
_WHOLE: Final = "_"  # the one value that holds all others as JSON, in SlapOS's serialisation


@dataclass(frozen=True)
class Options:
    values: dict[str, str] = rest()  # published under the option's name; those with a leading dash are settings


class Recipe(GenericBaseRecipe[Options]):
    """Publish every option of the section, but those whose name starts with ``-``: they say how.

    ``-shared`` (or ``-slave-reference``) names the shared instance meant. ``-extends`` names sections whose values are
    published too, and those that they extend; ``-publish``, in any of them, names the options that are meant.
    ``-serialisation``: ``text`` publishes texts; with ``json`` those that are JSON become values; ``json-in-xml``
    publishes one value ``_``, a JSON text of all. With ``-error-status-file`` what can't be published is no error of
    the run: it is written there and told to the requester, until it is mended.
    """

    def prepare(self) -> None:
        own = self.options.values
        for option in own:
            if option.startswith("-") and option not in _OWN:
                raise unknown_option(option, _OWN)
        self.shared = own.get("-shared") or own.get("-slave-reference") or ""
        self.status = self.path(own["-error-status-file"]) if own.get("-error-status-file") else None
        self.values = self._serialised(self._collected(), own.get("-serialisation") or "text")
        self.problem = self._unknown_shared()
        if self.problem is not None and self.status is None:
            raise self.problem

    def install(self) -> list[Path]:
        """Hand the values over; they leave the partition when the whole run is done."""
        try:
            if self.problem is not None:
                self.fail(self.problem)
            self._hand_over()
        except AllotmentError as error:
            if self.status is None:
                raise
            self.run.errors.append(str(error))
            return [self.write(self.status, f"{error}\n")]
        if self.status is not None:
            self.run.journal.remove(self.status)
        return []

    def _hand_over(self) -> None:
        run = self.run
        target = run.published_shared.get(self.shared, {}) if self.shared else run.published
        for key, value in self.values.items():
            if key in target and target[key] != value:
                raise AllotmentError(
                    f"[{self.name}] {key}: another section publishes another value", "Publish each value once"
                )
        if self.shared:
            run.published_shared[self.shared] = {**target, **self.values}
        else:
            run.published.update(self.values)

    def _collected(self) -> dict[str, Any]:
        """Return the values of this section and of those that it extends; the nearest one of a name counts."""
        found: dict[str, Any] = {}
        todo = [self.name]
        for name in todo:  # grows while it is read
            section: Mapping[str, str] = self.options.values if name == self.name else self._extended(name)
            chosen = section.get("-publish", "").split() or [
                option for option in section if not option.startswith(("-", "_", "<")) and option != "recipe"
            ]
            for option in chosen:
                if option not in section:
                    options = tuple(key for key in section if not key.startswith(("-", "_", "<")))
                    problem = f"[{name}] has no option '{option}'"
                    raise OptionProblem("-publish", problem, nearest(option, options))
                found.setdefault(option, value_of(section[option]))
            todo += [other for other in section.get("-extends", "").split() if other not in todo]
        return found

    def _extended(self, name: str) -> Mapping[str, str]:
        section: Mapping[str, str] = self.buildout[name]
        return section

    def _serialised(self, values: dict[str, Any], serialisation: str) -> dict[str, Any]:
        tokens = self.run.tokens
        if serialisation not in _SERIALISATIONS:
            problem = f"{serialisation!r} is not one of its values"
            raise OptionProblem("-serialisation", problem, nearest(serialisation, _SERIALISATIONS))
        if serialisation == "json-in-xml":
            text = json.dumps(values, sort_keys=True)
            plain = tokens.reveal_in_json(text)
            return {_WHOLE: Secret(plain) if tokens.found_in(text) else plain}
        if serialisation == "json":
            values = {name: _as_json(value) for name, value in values.items()}
        restored: dict[str, Any] = tokens.restore(values)
        return restored

    def _unknown_shared(self) -> OptionProblem | None:
        names = [item.name for item in self.run.need_instance(self.name).shared]
        if not self.shared or self.shared in names:
            return None
        option = "-shared" if self.options.values.get("-shared") else "-slave-reference"
        return OptionProblem(option, f"there is no shared instance '{self.shared}'", "Publish for those that exist")


def _as_json(value: Any) -> Any:
    """Return what a text is as JSON; one that is none stays."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json(value)
    except (ValueError, RecursionError):
        return value
