# SPDX-License-Identifier: Apache-2.0
"""What a script of an instance is: ``/bin/sh -e``, its environment, and the program that takes the script's place."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.build_environment import read_variables

_NOT_VARIABLES: Final = ("recipe", "<", "_profile_base_location_")


def shell_script(
    command: Sequence[str], environment: Mapping[str, str] | None = None, notes: Iterable[str] = ()
) -> str:
    """Return the text of a script that replaces itself by ``command``, passing its own arguments on.

    Nothing in the words or in the variables is expanded. The ``notes`` become comments, one a line.
    """
    lines = ["#!/bin/sh -e", *(f"# {' '.join(note.split())}" for note in notes)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
    lines.append(f'exec {shlex.join(command)} "$@"')
    return "\n".join(lines) + "\n"


def write_script(
    recipe: GenericBaseRecipe[Any],
    path: Path | str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Path:
    """Enter a script into the run's journal, executable by its owner only.

    Variables that hold secrets get their values. The command must hold none: ``refuse_secrets`` says so in time.
    """
    revealed = {name: recipe.run.tokens.reveal(value) for name, value in (environment or {}).items()}
    return recipe.write(path, shell_script(command, revealed, notes), 0o700)


def refuse_secrets(recipe: GenericBaseRecipe[Any], option: str, text: str) -> None:
    """Raise when a command line holds a secret: every user of the machine can read it in the process list."""
    if recipe.run.tokens.found_in(text):
        raise OptionProblem(option, "holds a secret", "Pass it in 'environment' or in a private file")


def read_environment(recipe: GenericBaseRecipe[Any], text: str, option: str = "environment") -> dict[str, str]:
    """Return the variables of ``NAME=value`` lines, or those of the section that is named."""
    name = text.strip()
    if not name or "=" in name:
        return read_variables(name, option)
    if len(name.split()) > 1:
        raise OptionProblem(option, f"{name!r} is neither NAME=value nor a section", "Write one of them")
    if name not in recipe.buildout:
        raise OptionProblem(option, f"there is no section '{name}'", "Write NAME=value lines, or a section's name")
    section = recipe.buildout[name]
    return {key: str(section[key]) for key in section if key not in _NOT_VARIABLES}


def program(name: str) -> tuple[str, ...]:
    """Return the words that start ``allotment_recipes.programs.<name>``.

    ``-I``: neither the service's environment nor a file of the working folder changes what the program imports.
    """
    return (sys.executable, "-I", "-m", f"allotment_recipes.programs.{name}")
