# SPDX-License-Identifier: Apache-2.0
"""Recipe ``publish-early``: values that are made once, published before all else, and then kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from allotment.atomic import read_limited
from allotment.codec import loads
from allotment.errors import AllotmentError, nearest
from allotment.messages.instance import InstancePublished
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.context import INPUT_LIMIT
from allotment_recipes.typed_options import dumps
from allotment_recipes.values import value_of

_INIT: Final = "-init"


@dataclass(frozen=True)
class Options:
    values: dict[str, str] = rest()  # -init: lines of "name section:option"; all others are published as they are


class Recipe(GenericBaseRecipe[Options]):
    """Publish values before any child is asked for; other sections read them as ``${section:name}``.

    For each line ``name section:option`` of ``-init`` the value that was published earlier is given back to that
    section as the option, before its recipe begins; what the option then is, is published. So a password outlives a
    changed recipe or a lost file. An option ``name`` of this section is used instead of what ``-init`` says.
    """

    def prepare(self) -> None:
        given = self.options.values
        for option in given:
            if option.startswith("-") and option != _INIT:
                raise unknown_option(option, (_INIT,))
        self.run.need_instance(self.name)
        lines = filter(str.strip, given.get(_INIT, "").splitlines())
        sources = {name: source for name, source in map(self._parsed, lines) if name not in given}
        earlier = self._earlier() if sources else {}
        for name, (section, option) in sources.items():
            if name in earlier:
                value = self.run.tokens.hide(earlier[name])
                self._give_back(section, option, value if isinstance(value, str) else dumps(value), name)
        for name, (section, option) in sources.items():
            self.publish_option(name, self._made(section, option, name if name in earlier else ""))
        for name in {**given, **sources}:
            if not name.startswith("-"):
                self._publish(name, self.raw[name])

    def _parsed(self, line: str) -> tuple[str, tuple[str, str]]:
        words = line.split()
        section, colon, option = words[-1].partition(":") if words else ("", "", "")
        if len(words) != 2 or not section or not colon or not option or words[0].startswith("-"):
            raise OptionProblem(
                _INIT, f"{line.strip()!r} is not 'name section:option'", "Write it like: key password:passwd"
            )
        return words[0], (section, option)

    def _earlier(self) -> Mapping[str, Any]:
        """Return what the last run of this partition published."""
        path = self.run.folder / ".allotment" / "published.json"
        data = read_limited(path, INPUT_LIMIT)
        return {} if data is None else loads(InstancePublished, data, str(path)).values

    def _give_back(self, section: str, option: str, text: str, name: str) -> None:
        """Set an option of a section whose recipe has not begun; one that has begun must have come to the same."""
        sections = getattr(self.buildout, "_raw", self.buildout)
        if section not in sections:
            return  # said when it is read
        if section in getattr(self.buildout, "_data", ()):
            if self.buildout[section].get(option) != text:
                raise OptionProblem(
                    _INIT,
                    f"[{section}] was read before its earlier {option} could be given back",
                    f"Refer to ${{{self.name}:{name}}} in place of ${{{section}:{option}}}",
                )
            return
        if "${" not in text:  # it would be taken for a reference, perhaps to what its author must not see
            sections[section][option] = text

    def _made(self, section: str, option: str, earlier: str) -> str:
        try:
            options = self.buildout[section]
        except AllotmentError as error:
            about = getattr(error, "section", ""), getattr(error, "option", "")  # OptionError, which is slow to import
            if not earlier or about != (section, option):
                raise
            raise AllotmentError(
                f"{error.what}; it was published earlier, as '{earlier}'",
                f"Allow it, or choose another name in [{self.name}] {_INIT} to have another one made",
            ) from error
        if option not in options:
            raise OptionProblem(_INIT, f"[{section}] has no option '{option}'", nearest(option, tuple(options)))
        return str(options[option])

    def _publish(self, name: str, text: str) -> None:
        value = self.run.tokens.restore(value_of(text))
        if self.run.published.setdefault(name, value) != value:
            raise AllotmentError(
                f"[{self.name}] {name}: another section publishes another value", "Publish each value once"
            )
