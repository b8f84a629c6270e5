# SPDX-License-Identifier: Apache-2.0
"""``allot profile annotate``: where each value of a profile comes from."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment_recipes.commands.build_options import profile_of

if TYPE_CHECKING:  # it imports buildout
    from allotment_recipes.reader.annotate import Step, Value

_HIDDEN = "_profile_base_location_"  # in each section, as reading makes it
_WIDTH = 100


@click.command("annotate")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("wanted", metavar="[SECTION[:OPTION]]...", nargs=-1)
@click.option("--sources", type=click.Path(path_type=Path), help="Source cache. [default: var/sources]")
@click.option("--defaults", is_flag=True, help="Show also what no profile says; of named sections it is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, wanted: tuple[str, ...], sources: Path | None, defaults: bool, as_json: bool) -> None:
    """Show each value of PATH, a profile or its folder, and the files and lines that made it.

    No recipe runs: what only a run can tell is shown as it is written.
    """
    from allotment_recipes.reader.annotate import annotate, chosen

    profile = profile_of(path)
    values = chosen(annotate(profile, (sources or Path("var", "sources")).absolute()), wanted)
    values = [value for value in values if value.is_said or wanted or defaults]
    if as_json:
        click.echo(json.dumps({"profile": str(profile), "values": [asdict(value) for value in values]}))
        return
    shown = [value for value in values if value.option != _HIDDEN or value.section + ":" + _HIDDEN in wanted]
    for section, own in groupby(shown, lambda value: value.section):
        click.secho(f"[{section}]", bold=True)
        for value in own:
            for line in _lines(value):
                click.echo(line)
        click.echo()


def _lines(value: "Value") -> Iterator[str]:
    first, *more = value.written.split("\n")
    yield f"{value.option} = {_printable(first)}".rstrip()
    yield from (f"    {_printable(line)}".rstrip() for line in more)
    if value.resolved not in (None, value.written):
        yield from (f"  is {_printable(line)}".rstrip() for line in str(value.resolved).split("\n"))
    width = max(len(_place(step)) for step in value.steps)
    for step in value.steps:
        said = _short(step.value) if len(value.steps) > 1 else ""
        yield f"    {_place(step):{width}}  {step.operation:2} {said}".rstrip(" =" if len(value.steps) == 1 else " ")


def _place(step: "Step") -> str:
    place = step.place
    if os.path.isabs(place):  # noqa: PTH117 (an address is none)
        place = os.path.relpath(place)
    place = f"{place}:{step.line}" if step.line else place
    return _printable(f"{place}, [{step.macro}]" if step.macro else place)


def _short(text: str) -> str:
    words = " | ".join(filter(None, map(str.strip, text.split("\n"))))
    return _printable(words if len(words) <= _WIDTH else f"{words[:_WIDTH]}...")


def _printable(text: str) -> str:
    """Return a text that commands no terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
