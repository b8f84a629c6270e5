# SPDX-License-Identifier: Apache-2.0
"""Where a new thing goes: this repository, a distribution of somebody else's, or a new distribution."""

import itertools
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.new.writing import write_new

LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"
_RECIPES = 'entry-points."zc.buildout"'


@dataclass(frozen=True)
class Home:
    """A place for recipes or promises; paths are those of its files."""

    root: Path  # what is shown to people is relative to it
    distribution: str
    package: str
    source: Path  # folder of the package, or of its recipes
    tests: Path
    plugin: Path
    project: Path  # pyproject.toml
    licence: str = ""  # first line of each file
    created: Mapping[str, str] = field(default_factory=dict)  # files that make the distribution, when it is new

    def texts(self, *paths: Path) -> dict[Path, str]:
        """Return what is in all files of a new distribution, or in ``paths`` of one that is there."""
        return {self.root / name: text for name, text in self.created.items()} or {
            path: path.read_text() for path in paths
        }


def choose(folder: Path, name: str, distribution: str, ours: Callable[[Path], Home]) -> Home:
    """Return where a thing called ``name`` goes; ``ours`` returns its place in this repository."""
    root = repository(folder)
    if root is not None and not distribution:
        return ours(root)
    found = existing(folder) if root is None else None
    if found is not None and distribution and distribution != found.distribution:
        raise AllotmentError(
            f"this folder belongs to {found.distribution}", "Leave --distribution out, or go elsewhere"
        )
    return found or fresh(folder, distribution or f"allotment-{re.sub('[._]', '-', name)}")


def write(home: Home, texts: Mapping[Path, str], changed: Mapping[Path, str], files: Mapping[Path, str]) -> list[Path]:
    """Write what is new and what gets a line; return the new files."""
    if home.created:
        taken = [path for path in files if path in texts]
        if taken:
            raise AllotmentError(f"{taken[0].name} is a file of every distribution", "Choose another name")
        files = {**texts, **changed, **files}
        changed = {}
    write_new(files, changed)
    return list(files)


def repository(folder: Path) -> Path | None:
    """Return the root of this project's repository when ``folder`` is in a clone of it."""
    for parent in (folder, *folder.parents):
        if all((parent / name).is_file() for name in ("software/stack/python.cfg", "recipes/pyproject.toml")):
            return parent
    return None


def existing(folder: Path) -> Home | None:
    """Return the distribution that ``folder`` is in, if it is one with plugins for Allotment."""
    for parent in (folder, *folder.parents):
        project = parent / "pyproject.toml"
        if not project.is_file():
            continue
        try:
            data = tomllib.loads(project.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AllotmentError(f"{project} can't be read: {error}", "Correct it") from error
        points = data.get("project", {}).get("entry-points", {}).get("allotment", {})
        for module in points.values():
            package, _, name = module.rpartition(".")
            plugin = parent / "src" / package.replace(".", "/") / f"{name}.py"
            if package and plugin.is_file():
                return Home(parent, data["project"]["name"], package, plugin.parent, parent / "tests", plugin, project)
        raise AllotmentError(
            f"{project} has no entry point 'allotment' that names a module in {parent / 'src'}",
            "Go to an empty folder to begin a distribution, or add the entry point",
        )
    return None


def fresh(folder: Path, distribution: str) -> Home:
    """Return a distribution to be made in ``folder``."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", distribution):
        raise AllotmentError(
            f"{distribution!r} is not a name for a distribution",
            "Write small letters and digits, parted by '-', like my-recipes",
        )
    root = folder / distribution
    if root.exists():
        raise AllotmentError(f"{root} exists already", "Go into it, or choose another name with --distribution")
    package = distribution.replace("-", "_")
    source = root / "src" / package
    words = {"distribution": distribution, "package": package}
    created = {name: fill(text, words) for name, text in DISTRIBUTION.items()}
    created = {fill(name, words): text for name, text in created.items()}
    return Home(
        *(root, distribution, package, source, root / "tests", source / "plugin.py", root / "pyproject.toml"),
        created=created,
    )


def fill(text: str, words: Mapping[str, str]) -> str:
    """Return ``text`` with each ``<<word>>`` replaced: profiles are full of every other kind of bracket."""
    for word, value in words.items():
        text = text.replace(f"<<{word}>>", value)
    return text


def with_line(text: str, opening: str, line: str, where: Path) -> str:
    """Return ``text`` with ``line`` among those that follow ``opening``, in order; it is an error when that is gone."""
    if opening not in text:
        raise AllotmentError(
            f"{where} has no line {opening.splitlines()[-1].strip()!r}", f"Add it, with {line.strip()}"
        )
    before, after = text.split(opening, 1)
    lines = after.splitlines(keepends=True)
    entries = list(itertools.takewhile(_is_entry, lines))
    return before + opening + "".join([*sorted([*entries, f"{line}\n"], key=_key), *lines[len(entries) :]])


def _key(entry: str) -> str:
    return entry.strip().removeprefix('"')


def _is_entry(line: str) -> bool:
    return bool(re.match(r"""\s*(["\w.-]+ = "|"[^"]+": ").*$""", line))


def with_recipe(home: Home, texts: Mapping[Path, str], name: str, module: str) -> dict[Path, str]:
    """Return the plugin's module and the metadata with a recipe entered; the two registries say the same."""
    key = f'"{name}"' if not re.fullmatch(r"[\w-]+", name) else name
    folder = f"{home.package}.recipes" if home.source.name == "recipes" else home.package
    point = f'{key} = "{folder}.{module}:Recipe"'
    return {
        home.plugin: with_line(texts[home.plugin], "RECIPES = {\n", f'    "{name}": "{module}",', home.plugin),
        home.project: with_line(texts[home.project], f"[project.{_RECIPES}]\n", point, home.project),
    }


def with_promise(home: Home, texts: Mapping[Path, str], name: str, kind: str) -> dict[Path, str]:
    """Return the plugin's module with a promise type entered, a class called ``kind``."""
    return {home.plugin: with_line(texts[home.plugin], "PROMISES = {\n", f'    "{name}": "{kind}",', home.plugin)}


DISTRIBUTION = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "<<distribution>>"
version = "0.1"
description = "Recipes and promises for Allotment"
requires-python = ">=3.11"
dependencies = ["allotment.recipes", "allotment.promises"]

[project.optional-dependencies]
test = ["pytest"]

# What any buildout finds: recipe = <<distribution>>:NAME
[project.entry-points."zc.buildout"]

# What Allotment finds: the module with the hooks.
[project.entry-points.allotment]
<<package>> = "<<package>>.plugin"

[tool.setuptools.packages.find]
where = ["src"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """\
# <<distribution>>

Recipes and promises for [buildout](https://www.buildout.org) and Allotment. Install it where buildout runs:

    pip install -e .[test]
    pytest
    allot plugins          # what is loaded, with every option

`src/<<package>>/plugin.py` lists what there is; `pyproject.toml` lists the recipes for plain buildouts.
`allot new recipe NAME` and `allot new promise NAME`, called in this folder, add more.
""",
    "src/<<package>>/__init__.py": '"""Recipes and promises for Allotment."""\n',
    "src/<<package>>/plugin.py": '''\
"""What this distribution contributes. Nothing is imported here but the hooks: ``allot`` loads this at every start."""

from allotment.hookspecs import PromiseType, RecipeType, hookimpl

RECIPES = {
}  # name -> module; pyproject.toml lists the same
PROMISES = {
}  # name -> class, in the module of that name


@hookimpl
def allotment_recipe_types() -> tuple[RecipeType, ...]:
    return tuple(
        RecipeType(name, f"<<package>>.{module}:Recipe", distribution="<<distribution>>")
        for name, module in RECIPES.items()
    )


@hookimpl
def allotment_promise_types() -> tuple[PromiseType, ...]:
    return tuple(PromiseType(name, f"<<package>>.{name}:{kind}") for name, kind in PROMISES.items())
''',
    "tests/conftest.py": '"""The fixtures of the kit: partition, release, upstream, sources, make_recipe."""\n\n'
    'pytest_plugins = ["allotment_recipes.testing.fixtures"]\n',
}
