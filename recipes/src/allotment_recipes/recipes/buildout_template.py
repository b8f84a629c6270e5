# SPDX-License-Identifier: Apache-2.0
"""Recipe ``template``: a file with ``${section:option}`` replaced, as in a profile."""

import re
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem
from allotment_recipes.templates import TemplateOptions, TemplateRecipe

_REFERENCE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[^}\n]*)\}?")
_NAME = re.compile(r"([-\w. ]*):([-\w.]+)")


@dataclass(frozen=True)
class Options(TemplateOptions):
    pass


class Recipe(TemplateRecipe[Options]):
    """Write ``url`` to ``output``, each ``${section:option}`` in it replaced; ``$${`` stands for ``${`` itself.

    ``${:option}`` is an option of this section. Sections that are named become known as references, so the template is
    read before anything is installed.
    """

    def prepare(self) -> None:
        self.locate()
        self.text = self.inline().replace("$${", "${")
        if self.options.url:
            self.text = self._replaced(self.read_template(self.options.url))

    def install(self) -> list[Path]:
        """Write the file; it is private when it holds a secret."""
        self.write_output(self.text)
        return [self.output]

    def watched(self) -> list[Path] | None:
        return self.template_files()

    def _replaced(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            name = _NAME.fullmatch(match["name"])
            if name is None or not match[0].endswith("}"):
                line = text.count("\n", 0, match.start()) + 1
                fix = "Write ${section:option}, or $${ for a dollar sign and a brace"
                raise OptionProblem("url", f"{self.options.url}, line {line}: {match[0]!r} refers to nothing", fix)
            return str(self.referred("url", name[1].strip(), name[2]))

        return _REFERENCE.sub(value, text)
