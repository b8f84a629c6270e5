# SPDX-License-Identifier: Apache-2.0
"""Recipe ``template.jinja2``: render a template to a file."""

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allotment.errors import AllotmentError, nearest
from allotment.options import Lines, Mode, OptionProblem
from allotment_recipes.base import GenericBaseRecipe

if TYPE_CHECKING:  # jinja2 is imported when a template is rendered
    import jinja2


@dataclass(frozen=True)
class Options:
    output: Path  # the file that is written
    url: str = ""  # the template's path, or file URL
    inline: str = ""  # the template itself, in place of url
    context: Lines = Lines(())  # one variable a line: kind, name, expression
    import_list: Lines = Lines(())  # templates to import from, one a line: file, name, path
    mode: Mode = Mode(0o644)  # permissions of output

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.inline):
            raise ValueError("give one of url and inline")


class Recipe(GenericBaseRecipe[Options]):
    """Render ``url`` or ``inline`` to ``output`` with Jinja2; an undefined variable is an error.

    Kinds of ``context`` lines: ``raw name text``, ``key name section:option``, ``json name text``,
    ``jsonkey name section:option`` (the option's text is JSON), ``section name section``, ``import name module``.
    ``${section:option}`` of a template's own text is left as it is. Secrets have their values in the output only.
    """

    def prepare(self) -> None:
        self.output = self.path(self.options.output)
        self.publish_option("output", self.output)
        self.publish_option("location", self.output.parent)
        self.holds_secret = False
        # Read here, so that the sections become known as references, and a child's missing answer makes this part wait.
        self.context = dict(self._variable(line) for line in self.options.context)
        for line in self.options.import_list:
            if len(line.split(None, 2)) != 3 or not line.startswith("file "):
                raise OptionProblem(
                    "import-list", f"{line!r} is not 'file NAME PATH'", "Write it like: file lib lib.j2"
                )

    def install(self) -> list[Path]:
        """Render; the file is private when a secret is among the variables."""
        text = self._render()
        self.write(self.output, text, self.options.mode, private=self.holds_secret)
        return [self.output]

    def _render(self) -> str:
        import jinja2

        imports = dict(line.split(None, 2)[1:] for line in self.options.import_list)
        text = self.options.inline or self._read(self.options.url)
        try:
            jinja = environment(lambda name: self._read(imports[name]) if name in imports else None)
            return jinja.from_string(text).render(self.context)
        except jinja2.TemplateError as error:
            raise AllotmentError(self._explain(error), "Correct the template or its context") from error

    def _explain(self, error: "jinja2.TemplateError") -> str:
        place = self.options.url or f"[{self.name}] inline"
        line = getattr(error, "lineno", None)
        return self.run.tokens.scrub(f"[{self.name}] {place}{f', line {line}' if line else ''}: {error.message}")

    def _read(self, url: str) -> str:
        path = self.path(url.removeprefix("file://"))
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is not UTF-8 text"
            self.fail(OptionProblem("url", f"{path} can't be read: {reason}", "Correct the path"))

    def _variable(self, line: str) -> tuple[str, Any]:
        words = line.split(None, 2)
        if len(words) < 2:
            raise OptionProblem("context", f"{line!r} is not 'kind name expression'", "Write it like: raw port 8080")
        kind, name, expression = words[0], words[1], words[2] if len(words) == 3 else ""
        kinds: dict[str, Callable[[str], Any]] = {
            "raw": self._plain,
            "key": lambda text: self._plain(self._option(text)),
            "json": self._json,
            "jsonkey": lambda text: self._json(self._option(text)),
            "section": lambda text: {key: self._plain(value) for key, value in self.buildout[text].items()},
            "import": importlib.import_module,
        }
        if kind not in kinds:
            raise OptionProblem("context", f"{line!r} has the unknown kind '{kind}'", nearest(kind, tuple(kinds)))
        try:
            return name, kinds[kind](expression)
        except (ImportError, ValueError) as error:
            raise OptionProblem("context", f"{name}: {error}", "Correct the line") from error

    def _option(self, reference: str) -> str:
        section, colon, option = reference.partition(":")
        if not colon:
            raise ValueError(f"{reference!r} is not 'section:option'")
        return str(self.buildout[section or self.name][option])

    def _plain(self, text: str) -> str:
        self.holds_secret = self.holds_secret or self.run.tokens.found_in(text)
        return self.run.tokens.reveal(text)

    def _json(self, text: str) -> Any:
        self.holds_secret = self.holds_secret or self.run.tokens.found_in(text)
        return json.loads(self.run.tokens.reveal_in_json(text))


def environment(read: Callable[[str], str | None]) -> "jinja2.Environment":
    """Return what renders templates; ``read`` returns the text of one that another imports."""
    import jinja2

    loader = jinja2.FunctionLoader(read)
    return jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, loader=loader)
