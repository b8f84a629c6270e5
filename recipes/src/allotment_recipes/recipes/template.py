# SPDX-License-Identifier: Apache-2.0
"""Recipe ``template.jinja2``: render a template to a file."""

import builtins
import importlib
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from allotment.errors import AllotmentError, nearest
from allotment.options import Lines, OptionProblem, Words
from allotment_recipes import typed_options
from allotment_recipes.templates import TemplateOptions, TemplateRecipe
from allotment_recipes.values import written_value

if TYPE_CHECKING:  # jinja2 is imported when a template is rendered
    import jinja2

_IMPORTS: Final = ("file", "rawfile", "folder", "rawfolder")
_IN_JINJA: Final = ("jinja2.ext.with_", "jinja2.ext.autoescape")  # extensions once, a part of Jinja2 since
_BUILT_IN: Final = """
    abs all any bin bool bytes chr dict divmod enumerate filter float format frozenset hex int isinstance iter len list
    map max min next oct ord pow repr reversed round set sorted str sum tuple zip
"""


@dataclass(frozen=True)
class Options(TemplateOptions):
    context: Lines = Lines(())  # one variable a line: kind, name, expression
    import_list: Lines = Lines(())  # templates to import from, one a line: kind, name, path
    import_delimiter: str = "/"  # parts the name of a folder in import-list from the path in it
    extensions: Words = Words(())  # extensions of Jinja2, such as jinja2.ext.do
    once: Path | None = None  # marker file: render only as long as it is missing; the file is never removed then
    update: bool = True  # render at each run; false: only when the section has changed
    encoding: str = "utf-8"  # of the template and of the output


class Recipe(TemplateRecipe[Options]):
    """Render ``url`` or ``inline`` to ``output`` with Jinja2; an undefined variable is an error.

    Kinds of ``context`` lines: ``raw name text``, ``key name section:option``, ``json name text``,
    ``jsonkey name section:option`` (the option's text is JSON), ``section name section``, ``import name module``.
    Kinds of ``import-list`` lines: ``rawfile name path``, ``rawfolder name path``, and ``file`` and ``folder`` with
    ``section:option`` in place of the path. ``${section:option}`` of a template's own text is left as it is;
    ``dumps(value)`` writes a value as an option of a profile. Secrets have their values in the output only.
    """

    def prepare(self) -> None:
        self.locate()
        try:
            "".encode(self.options.encoding)
        except (LookupError, ValueError) as error:
            raise OptionProblem("encoding", f"{error}", "Write utf-8") from error
        self.holds_secret = False
        # Read here, so that the sections become known as references, and a child's missing answer makes this part wait.
        self.context = dict(self._variable(line) for line in self.options.context)
        self.imports = dict(self._import(line) for line in self.options.import_list)
        self.imported: set[str] = set()  # paths, once they are read

    def install(self) -> list[Path]:
        """Render; the file is private when a secret is among the variables."""
        once = None if self.options.once is None else self.path(self.options.once)
        if once is not None:
            kept, journal = (once, self.output), self.run.journal
            if once.exists() and not any(map(journal.is_leaving, kept)):  # they leave with the section as it was before
                return []
            for path in kept:
                journal.keep(path)
        try:
            self.write_output(self._render(), self.options.encoding, private=self.holds_secret)
        except OptionProblem as problem:
            self.fail(problem)
        if once is None:
            return [self.output]
        if once != self.output:
            self.write(once, "")
        return []

    def watched(self) -> list[Path] | None:
        """Return the templates; of code that is imported, and of a file that is made once, nothing is known."""
        is_known = not self.options.once and not self.options.extensions and self.options.update
        is_plain = not any(line.split(None, 1)[:1] == ["import"] for line in self.options.context)
        return [*self.template_files(), *map(Path, self.imported)] if is_known and is_plain else None

    def update(self) -> list[Path]:
        """Render again, as files that are imported may have changed, unless ``update`` is false."""
        return self.install() if self.options.update else [] if self.options.once is not None else [self.output]

    def _render(self) -> str:
        name = self.options.url or "inline"
        text = self.inline()
        try:
            if self.options.url:
                text = self.read_template(self.options.url, self.options.encoding)
            jinja = environment(self._imported, self._extensions())
            code = jinja.compile(text, filename=name)
            return jinja.template_class.from_code(jinja, code, jinja.make_globals(None)).render(self.context)
        except AllotmentError:
            raise
        except Exception as error:  # whatever a template does wrong is said with its line
            raise AllotmentError(self._explain(error, name), "Correct the template or its context") from error

    def _explain(self, error: Exception, name: str) -> str:
        import jinja2

        if isinstance(error, jinja2.TemplateSyntaxError):
            places = [(error.filename or name, error.lineno)]
        else:
            frames = traceback.extract_tb(error.__traceback__)
            places = [
                (frame.filename, frame.lineno or 0) for frame in frames if frame.filename in (name, *self.imported)
            ]
        place, line = places[-1] if places else (name, 0)
        text = error.message if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
        where = f"{place}, line {line}" if line else place
        return self.run.tokens.scrub(f"[{self.name}] {where}: {text}")

    def _extensions(self) -> list[Any]:
        from jinja2.utils import import_string

        found = []
        for name in self.options.extensions:
            if name in _IN_JINJA:
                continue
            extension = import_string(name, silent=True)
            if extension is None:
                raise OptionProblem("extensions", f"{name} can't be imported", "Correct it, or install what has it")
            found.append(extension)
        return found

    def _imported(self, name: str) -> "tuple[str, str, Callable[[], bool]] | None":
        """Return the text of a template that another one imports, and its path for errors."""
        base, _, rest = name.partition(self.options.import_delimiter)
        path = self.imports.get(name)
        if path is None and base in self.imports and rest:
            parts = PurePosixPath(*rest.split(self.options.import_delimiter))
            if parts.is_absolute() or ".." in parts.parts:
                return None
            path = self.imports[base] / parts
        if path is None:
            return None
        self.imported.add(str(path))
        text = self.decode(self.read_file(str(path), "import-list"), str(path), self.options.encoding, "import-list")
        return text, str(path), lambda: True

    def _import(self, line: str) -> tuple[str, Path]:
        words = line.split(None, 2)
        if len(words) != 3 or words[0] not in _IMPORTS:
            problem = f"{line!r} is not one of {', '.join(_IMPORTS)}, a name and a path"
            raise OptionProblem("import-list", problem, "Write it like: rawfile lib lib.j2")
        kind, name, path = words
        if ":" in path and not kind.startswith("raw"):
            path = str(written_value(*self._referred(path)))
        return name, self.path(path.removeprefix("file://"))

    def _variable(self, line: str) -> tuple[str, Any]:
        words = line.split(None, 2)
        if len(words) < 2:
            raise OptionProblem("context", f"{line!r} is not 'kind name expression'", "Write it like: raw port 8080")
        kind, name, expression = words[0], words[1], words[2] if len(words) == 3 else ""
        kinds: dict[str, Callable[[str], Any]] = {
            "raw": self._plain,
            "key": lambda text: self._plain(_value(*self._referred(text))),
            "json": self._json,
            "jsonkey": lambda text: self._json(str(written_value(*self._referred(text)))),
            "section": self._section,
            "import": importlib.import_module,
        }
        if kind not in kinds:
            raise OptionProblem("context", f"{line!r} has the unknown kind '{kind}'", nearest(kind, tuple(kinds)))
        try:
            return name, kinds[kind](expression)
        except (ImportError, ValueError, RecursionError) as error:
            raise OptionProblem("context", f"{name}: {error}", "Correct the line") from error

    def _referred(self, reference: str) -> tuple[Any, str, Any]:
        """Return the section that is meant, the option and its text."""
        section, colon, option = reference.partition(":")
        if not colon:
            raise ValueError(f"{reference!r} is not 'section:option'")
        text = self.referred("context", section, option)
        return self.buildout[section] if section else self.raw, option, text

    def _section(self, name: str) -> dict[str, Any]:
        section = self.buildout[name]
        return {option: self._plain(_value(section, option, text)) for option, text in section.items()}

    def _plain(self, value: Any) -> Any:
        """Return a value of a profile, mostly a text, with its secrets in place."""
        if isinstance(value, str):
            self.holds_secret = self.holds_secret or self.run.tokens.found_in(value)
            return self.run.tokens.reveal(value)
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        return type(value)(map(self._plain, value)) if isinstance(value, list | tuple) else value

    def _json(self, text: str) -> Any:
        self.holds_secret = self.holds_secret or self.run.tokens.found_in(text)
        return json.loads(self.run.tokens.reveal_in_json(text))


def _value(section: Any, option: str, text: Any) -> Any:
    """Return an option's value; of a recipe of SlapOS it may be one where ours has JSON."""
    is_json = getattr(section, "is_json", None)
    return json.loads(text) if is_json is not None and is_json(option) else written_value(section, option, text)


def environment(read: Callable[[str], Any], extensions: Sequence[Any] = ()) -> "jinja2.Environment":
    """Return what renders templates; ``read`` returns the text of one that another imports."""
    import jinja2

    jinja = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(read),
        extensions=extensions,
    )
    jinja.globals.update({name: getattr(builtins, name) for name in _BUILT_IN.split()})
    jinja.globals.update({"assert": _claim, "dumps": typed_options.dumps})
    return jinja


def _claim(claim: object, message: str = "a claim of the template is not true") -> str:
    """Let a template end the run."""
    if not claim:
        raise AssertionError(message)
    return ""
