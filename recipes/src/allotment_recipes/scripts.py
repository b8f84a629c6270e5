# SPDX-License-Identifier: Apache-2.0
"""What a script of an instance is: ``/bin/sh -e``, its environment, and the program that takes the script's place."""

import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from allotment.options import OptionProblem
from allotment_recipes.base import FRAMEWORK, GenericBaseRecipe
from allotment_recipes.build_environment import read_variables

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}")


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
    """Return the variables of ``NAME=value`` lines, or those of the section that is named.

    A value in a line is one line: what a parameter puts below it would be another variable. When the values of a named
    section change, the part is another one, as it is when lines do.
    """
    name = text.strip()
    if not name or "=" in name:
        found = read_variables(name, option)
        refuse_lines_of_values(recipe, option, text, "Put it into a section, and name that here")
    else:
        found = _variables_of_section(recipe, name, option)
    for variable, value in found.items():
        if not _NAME.fullmatch(variable):
            problem = f"'{variable}' can't be the name of a variable"
            raise OptionProblem(option, problem, "Use letters, digits and underscores")
        if "\0" in recipe.run.tokens.reveal(value):
            raise OptionProblem(option, f"{variable} holds a NUL character", "No program can be given that: correct it")
    return found


def _variables_of_section(recipe: GenericBaseRecipe[Any], name: str, option: str) -> dict[str, str]:
    if len(name.split()) > 1:
        raise OptionProblem(option, f"{name!r} is neither NAME=value nor a section", "Write one of them")
    if name not in recipe.buildout:
        raise OptionProblem(option, f"there is no section '{name}'", "Write NAME=value lines, or a section's name")
    section = recipe.buildout[name]
    found = {key: str(section[key]) for key in section if key not in FRAMEWORK}
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    recipe.publish_option(f"{option}-digest", digest)
    return found


def refuse_lines_of_values(recipe: GenericBaseRecipe[Any], option: str, text: str, fix: str) -> None:
    """Raise when a value has brought lines of its own; a line that is a reference and nothing else may."""
    written = [line.strip() for line in getattr(recipe.raw, "_raw", {}).get(option, text).splitlines() if line.strip()]
    may_bring = any(not _REFERENCE.sub("", line) for line in written)
    if not may_bring and len([line for line in text.splitlines() if line.strip()]) > len(written):
        raise OptionProblem(option, "a value has more than one line", fix)


def refuse_whole_folder(recipe: GenericBaseRecipe[Any], option: str, path: Path) -> None:
    """Raise when a path that goes with the part is the folder of the partition or release, or holds it."""
    folder = Path(os.path.realpath(recipe.folder))
    if Path(os.path.realpath(path)) in (folder, *folder.parents):
        raise OptionProblem(option, f"{path} holds all that is here, and it goes with the part", "Name what is made")


def program(name: str) -> tuple[str, ...]:
    """Return the words that start ``allotment_recipes.programs.<name>``.

    ``-I``: neither the service's environment nor a file of the working folder changes what the program imports.
    """
    return (sys.executable, "-I", "-m", f"allotment_recipes.programs.{name}")
