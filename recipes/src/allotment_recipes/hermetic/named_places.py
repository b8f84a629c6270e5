# SPDX-License-Identifier: Apache-2.0
"""The places that a part's texts lead to: interpreters of its scripts, and what it tells compilers of its users."""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from allotment_recipes.hermetic.host_tools import HOST_TOOLS
from allotment_recipes.hermetic.root import HOST_FOLDERS

_PROGRAMS: Final = ("bin", "sbin", "libexec")
_INTERPRETER: Final = re.compile(rb"#![ \t]*(\S+)(?:[ \t]+(?:-S[ \t]+)?(\S+))?")
# Of these files only what compilers and linkers are told counts: the rest says much that leads nowhere.
_PKG_CONFIG: Final = re.compile(r"(?m)(?:^(?:prefix|exec_prefix|libdir|includedir)=|(?<!\S)-[IL])(/[^\s\"']*)")
_LIBTOOL: Final = re.compile(r"(?:(?<=[\s'])-L|(?<==')|(?<=[\s']))(/[^\s']*)")
_CMAKE: Final = re.compile(r"(?m)^[^#\n]*(?:IMPORTED_|INTERFACE_)\w+\s+(\"[^\"\n]*\")")
_FOLDER: Final = re.compile(r"(?:(?<=[\";:>])|(?<=-[IL]))(/[^\";:>\s]*)")

Objection = Callable[[Path], str]  # why a part may not lead to a path; empty when it may


def interpreter_problem(name: str, data: bytes, programs: Collection[str], objection: Objection) -> str:
    """Return what is wrong with the first line of a script that users start, if anything.

    ``programs`` are those of the machine that the section declares.
    """
    match = _INTERPRETER.match(data)
    if match is None or name.partition("/")[0] not in _PROGRAMS:
        return ""
    path, argument = (Path((group or b"").decode(errors="replace")) for group in match.groups())
    if path.parent in HOST_FOLDERS:
        program = argument.name if path.name == "env" else path.name
        if program in HOST_TOOLS or program in programs:
            return ""
        return f"{name} is run by {program}, which is not declared: name it in host-tools, or remove the script"
    if why := objection(path):
        return f"{name} is run by {path}, {why}: replace it in post-install"
    return ""


def configuration_problems(name: str, text: str, objection: Objection) -> Iterator[str]:
    """Yield the folders outside that a file for pkg-config, libtool or CMake leads its readers to."""
    for folder in dict.fromkeys(_folders(name, text)):
        if why := objection(Path(folder)):
            yield f"{name} names {folder}, {why}: replace it in post-install, or remove the file"


def _folders(name: str, text: str) -> Iterator[str]:
    if name.endswith(".pc"):
        yield from _PKG_CONFIG.findall(text)
    elif name.endswith(".la"):
        for line in text.splitlines():
            if line.startswith(("dependency_libs=", "libdir=")):
                yield from _LIBTOOL.findall(line)
    elif name.endswith(".cmake"):
        for value in _CMAKE.findall(text):
            yield from _FOLDER.findall(value)
