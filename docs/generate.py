# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/generated/ from what is loaded: hooks, commands, recipes, promises, formats, settings.

Each ``*_page`` function returns one page as text, so that tests can ask whether everything is in it.
"""

import ast
import dataclasses
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from allotment import codec, hookspecs
from allotment.options import OptionDescription, describe_options, options_of, schema_of_options
from allotment.plugins import Contribution, load, plugins
from allotment_recipes import aliases
from allotment_recipes.aliases import absent

FOLDER = Path(__file__).parent / "reference"
EXAMPLES = FOLDER / "examples"  # a profile for each recipe of ours
HEAD = "<!-- SPDX-License-Identifier: Apache-2.0; made by docs/generate.py -->\n"
FORMAT_MODULES = ("allotment.messages", "allotment_testfarm.wire")


def text_of(thing: Any) -> str:
    """Return a docstring as Markdown: roles become plain code, definition blocks stay as they are."""
    doc = inspect.cleandoc(thing if isinstance(thing, str) else thing.__doc__ or "")
    return re.sub(r":[a-z:]+:`[~!]?([^`]+)`", r"``\1``", doc)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars and line ends inside cells are made harmless."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)]) + "\n"


def specifications() -> dict[str, Callable[..., Any]]:
    """Return every hook that has a specification, in the order of the module."""
    return {name: item for name, item in vars(hookspecs).items() if name.startswith("allotment_") and callable(item)}


def hooks_page() -> str:
    """Every hook, what its items hold, and those that are planned."""
    page = [HEAD, "# Hooks\n", text_of(hookspecs), "\n"]
    for name, specification in specifications().items():
        returned = inspect.signature(specification).return_annotation
        item = next(kind for kind in vars(hookspecs).values() if inspect.isclass(kind) and returned == Iterable[kind])
        page += [f"## `{name}`\n", f"Returns `Iterable[{item.__name__}]`.", "\n", text_of(specification), "\n"]
        page += [f"### `{item.__name__}`\n", text_of(item), "\n", fields_table(item)]
    page += ["## Planned\n", "Each gets its specification with its first caller; this is its intended shape.\n"]
    page += [f"`{hook.name}{hook.shape}`\n: {hook.doc}\n" for hook in hookspecs.PLANNED]
    return "\n".join(page)


def fields_table(cls: type) -> str:
    """The fields of a dataclass; the comment that ends a field's line is its documentation."""
    comments = field_comments(cls)
    rows = [
        (f"`{field.name}`", f"`{type_name(field.type)}`", default_of(field), comments.get(field.name, ""))
        for field in dataclasses.fields(cls)
    ]
    return table(("field", "type", "default", ""), rows)


def field_comments(cls: type) -> dict[str, str]:
    lines = inspect.getsource(cls).splitlines()
    found = (re.match(r"    (\w+): [^#]*?(?:  # (.*))?$", line) for line in lines)
    return {match[1]: match[2] or "" for match in found if match}


def type_name(kind: Any) -> str:
    return (
        kind.__name__
        if inspect.isclass(kind) and not hasattr(kind, "__args__")
        else re.sub(r"\b[a-z_]+\.", "", str(kind))
    )


def default_of(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`" if not hasattr(field.default, "value") else f"`{field.default.value!r}`"
    return "empty" if field.default_factory is not dataclasses.MISSING else "required"


def options_table(options: Iterable[OptionDescription]) -> str:
    """The options of a recipe or a promise."""

    def default(option: OptionDescription) -> str:
        return "required" if option.default is None else (f"`{option.default}`" if option.default else "empty")

    rows = [(f"`{option.name}`", option.type, default(option), option.doc) for option in options]
    return table(("option", "type", "default", ""), rows) if rows else "No options.\n"


def promises_page() -> str:
    """One section for each promise type, with a section of a profile that uses it, and its options."""
    intro = (
        "`promise = TYPE` in a section of [`recipe = allotment.recipes:promise`](recipes/promise.md), and `type` of a"
        " [promise file](formats.md#promise), name one of these. What the tables have is written `config-<option>` in a"
        " profile. Relative paths start at the partition. [Write a promise](../../howto/write-a-promise.md) tells of"
        " `period`, `failures` and other options that all have, and of executables in `etc/promise`."
    )
    page = [HEAD, "# Promises\n", intro, "\n"]
    examples = promise_examples()
    for found in contributed("allotment_promise_types"):
        target = load(found.item.target)
        page += [f"## {found.item.name}\n", text_of(target), "\n", f"{counting(target)} {origin(found)}.\n"]
        page += [f"```ini\n{examples[found.item.name]}\n```\n"] if found.item.name in examples else []
        page += [options_table(described(target))]
    return "\n".join(page)


def promise_examples() -> dict[str, str]:
    """Return the text of a section for each promise type of ours, by its name."""
    sections = re.split(r"\n+(?=\[)", (EXAMPLES / "promises.cfg").read_text().rstrip())
    found = ((re.search(r"^promise = (\S+)$", section, re.MULTILINE), section) for section in sections)
    return {match[1]: section for match, section in found if match}


def counting(target: Any) -> str:
    """Say in which phases a promise type runs, and when it is broken."""
    if target.only == "test":
        return "It runs after a deployment only;"
    where = "It runs in operation only, where" if target.only else "In operation"
    runs = f"{target.failures} of {target.window} runs" if target.window > 1 else "one run"
    times = f"it runs every {seconds(target.period)}, for {seconds(target.timeout)} at most"
    return f"{where} it is broken when {runs} failed; {times};"


def seconds(number: float) -> str:
    """Return a time as people say it."""
    units = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((size, unit) for size, unit in units if number % size == 0)
    return unit if number == size else f"{number / size:g} {unit}s"


def contributed(hook: str) -> list[Contribution]:
    return sorted(plugins().contributions(hook), key=lambda found: str(found.item.name))


def described(target: Any) -> Sequence[OptionDescription]:
    options = options_of(target)
    return describe_options(options) if options is not None else ()


def published(target: type) -> list[str]:
    """Return the options that a recipe sets for other sections: those of its code, and those that its text shows."""
    own = [base for base in target.__mro__ if base.__module__ not in ("allotment_recipes.base", "typing", "builtins")]
    trees = [ast.parse(inspect.getsource(sys.modules[module])) for module in {base.__module__ for base in own}]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    names = [call.args[0] for call in calls if getattr(call.func, "attr", "") == "publish_option"]
    shown = re.findall(r"``\$\{section:([-\w]+)\}``", text_of(target))
    return sorted({name for node in names if (name := option_set(node, target))} | set(shown))


def option_set(node: ast.expr, target: type) -> str:
    """Return the name that an expression gives an option; empty when only a run knows it."""
    if isinstance(node, ast.Attribute):  # of the class
        return str(getattr(target, node.attr, ""))
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<key>" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def origin(found: Contribution) -> str:
    return f"from {found.origin.distribution} {found.origin.version}"


def recipe_pages() -> dict[str, str]:
    """Return one page for each recipe, by its path, and the index that leads to them."""
    found = contributed("allotment_recipe_types")
    pages = {f"recipes/{item.item.name}": recipe_page(item) for item in found}
    if len(pages) < len(found):
        raise ValueError("two installed distributions have a recipe of the same name; uninstall one of them")
    rows = [
        (f"[{item.item.name}](recipes/{item.item.name}.md)", first_sentence(load(item.item.target))) for item in found
    ]
    index = [HEAD, "# Recipes\n"]
    index += [
        "`allot plugins` prints the same, and `allot plugins --json` a JSON schema of each section's options, for"
        " editors; {download}`all schemas <recipes.schema.json>` in one file. A wrong option is named with its section"
        " and the nearest valid one.\n"
    ]
    index += [table(("recipe", ""), rows), "```{toctree}", ":hidden:", *pages, "```\n"]
    return {"recipes": "\n".join(index), **pages}


def recipe_page(found: Contribution) -> str:
    """What a recipe does, a profile that uses it, its options, what it sets, and its names elsewhere."""
    target = load(found.item.target)
    page = [HEAD, f"# {found.item.name}\n", text_of(target), "\n"]
    page += [f"`recipe = {found.item.distribution}:{found.item.name}`, {origin(found)}\n"]
    if (EXAMPLES / f"{found.item.name}.cfg").is_file():
        page += ["## Example\n"]
        page += [f"```{{literalinclude}} ../../examples/{found.item.name}.cfg\n:language: ini\n:lines: 2-\n```\n"]
    page += ["## Options\n", options_table(described(target))]
    sets = published(target)
    if sets:
        page += ["## Options that it sets\n"]
        page += [f"Other sections may read {', '.join(f'`{name}`' for name in sets)}.\n"]
    names = aliases.names_of(found.item.name) if found.item.distribution == aliases.DISTRIBUTION else []
    if names:
        page += ["## Its names in SlapOS\n", f"{', '.join(f'`{name}`' for name in names)}"]
        page += ["\nHow options are called there, and which have no effect here: [Aliases](../aliases.md).\n"]
    return "\n".join(page)


def first_sentence(thing: Any) -> str:
    """Return the first sentence of a docstring; a full stop inside of code ends none."""
    return re.match(r"((?:``.*?``|[^`])*?[.])(?=\s|$)|.*", text_of(thing), re.DOTALL)[0]  # type: ignore[index]


def aliases_page() -> str:
    """Return every recipe of others that is known by the name it has there."""
    page = [HEAD, "# Aliases\n", text_of(aliases), "\n"]
    for distribution in aliases.distributions():
        page += [f"## {distribution.replace('-', '.')}\n"]
        for name, alias in sorted(aliases.table(distribution).items()):
            ours = f"[`{aliases.DISTRIBUTION}:{alias.recipe}`](recipes/{alias.recipe}.md)"
            page += [f"### {aliases.written_there(distribution, name)}\n", f"runs as {ours}.\n"]
            rows = [(f"`{theirs}`", f"`{ours}`") for theirs, ours in {**alias.renamed, **alias.results}.items()]
            rows += [(f"`{theirs}`", f"no effect: {reason}") for theirs, reason in alias.dropped.items()]
            rows += [(f"without `{ours}`", f"`{ours} = {value}`") for ours, value in alias.defaults.items()]
            page += [table(("option there", "here"), rows)] if rows else []
    page += ["## Without counterpart\n", f"{text_of(absent)}\n"]
    rows = [
        (f"`{aliases.written_there(distribution, name)}`", instead.replace("<", "\\<"))
        for distribution, names in absent.ABSENT.items()
        for name, instead in names.items()
    ]
    return "\n".join([*page, table(("recipe there", "instead"), rows)])


def commands_page() -> str:
    """Every subcommand with its arguments and options, as its own --help has them."""
    page = [HEAD, "# Commands\n", "Exit codes: 0 done, 1 an error that is said, 2 wrong usage.\n"]
    for found in sorted(plugins().contributions("allotment_commands"), key=lambda found: tuple(found.item.path)):
        command: click.Command = load(found.item.target)
        words = f"allot {' '.join(found.item.path)}"
        context = click.Context(command, info_name=words)
        usage = command.get_usage(context).removeprefix("Usage: ")
        page += [
            f"## `{words}`\n",
            found.item.help,
            "\n",
            f"```text\n{usage}\n```\n",
            *more_help(command, found.item.help),
        ]
        rows = [(f"`{record[0]}`", record[1]) for record in option_records(command, context)]
        page += [table(("option", ""), rows)] if rows else []
    return "\n".join(page)


def more_help(command: click.Command, said: str) -> Iterator[str]:
    text = text_of(command.help or "").replace("\b\n", "")
    if text and text != said:
        yield text + "\n"


def option_records(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and (record[1] or isinstance(parameter, click.Option)):  # arguments may go without
            yield record


def message_classes() -> dict[str, type]:
    """Return every message of our own, by name; a plugin documents its own."""
    for module in FORMAT_MODULES:
        importlib.import_module(module)
    found = sorted(codec.messages().items())
    return {name: cls for name, cls in found if cls.__module__.split(".")[0].startswith("allotment")}


def formats_page() -> str:
    """Every message: what it is, its fields, an example, its JSON schema."""
    page = [HEAD, "# Message formats\n", text_of(codec), "\n"]
    page += ["What a format does not know is refused: an unknown field, and a document of another format.\n"]
    for name, cls in message_classes().items():
        schema = json.dumps(codec.schema(cls), indent=2)
        page += [f"## {name}\n", f"Format {cls.message_format}. {text_of(cls)}\n", fields_table(cls)]  # type: ignore[attr-defined]
        page += [f"```{{literalinclude}} ../formats/{name}.json\n:language: json\n:caption: example\n```\n"]
        page += [f"**JSON schema**\n\n```json\n{schema}\n```\n"]
    return "\n".join(page)


def settings_classes() -> list[type]:
    """Return the dataclasses that make up node.toml, the outermost first."""
    config: ModuleType = importlib.import_module("allotment_node.config")
    own = [item for item in vars(config).values() if dataclasses.is_dataclass(item) and inspect.isclass(item)]
    return [item for item in own if item.__module__ == config.__name__]


def settings_page() -> str:
    """What a node's configuration file may say."""
    page = [HEAD, "# Settings of a node\n", "`allot node register` writes `node.toml`; an unknown key is an error.\n"]
    for cls in settings_classes():
        page += [f"## {cls.__name__}\n", text_of(cls), "\n", fields_table(cls)]
    return "\n".join(page)


PAGES: dict[str, Callable[[], str]] = {
    "hooks": hooks_page,
    "aliases": aliases_page,
    "promises": promises_page,
    "commands": commands_page,
    "formats": formats_page,
    "settings": settings_page,
}


def recipe_schemas() -> str:
    """Return the JSON schemas of all recipes' sections, chosen by what ``recipe`` says."""
    branches = []
    for found in contributed("allotment_recipe_types"):
        options = options_of(load(found.item.target))
        schema = schema_of_options(options) if options is not None else {"type": "object"}
        recipe = {"const": f"{found.item.distribution}:{found.item.name}"}
        schema["properties"] = {"recipe": recipe, **schema.get("properties", {})}
        branches.append({"if": {"properties": {"recipe": recipe}, "required": ["recipe"]}, "then": schema})
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A section", "allOf": branches}
    return json.dumps(document, indent=1)


def main(arguments: Sequence[str]) -> int:
    """Write every page; one whose text is unchanged keeps its time, so that sphinx does not read it again."""
    target = FOLDER / "generated"
    (target / "recipes").mkdir(parents=True, exist_ok=True)
    made = {**{name: make() for name, make in PAGES.items()}, **recipe_pages()}
    pages = {f"{name}.md": re.sub(r"\n{3,}", "\n\n", text) for name, text in made.items()}
    for name, text in {**pages, "recipes.schema.json": recipe_schemas()}.items():
        path = target / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    for path in (target / "recipes").glob("*.md"):  # of recipes that are no more
        if f"recipes/{path.name}" not in pages:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
