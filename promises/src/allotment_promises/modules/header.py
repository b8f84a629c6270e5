# SPDX-License-Identifier: Apache-2.0
"""What a module file says of itself, read without running it: its Python, its eggs, what it imports."""

import ast
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment_promises.modules.facts import FOLDER

FILE_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Header:
    """What modules must have in common to share a process."""

    interpreter: tuple[str, ...]  # the command of the first line; the node's own Python where there is none
    paths: tuple[str, ...]  # what ``sys.path[0:0] = [...]`` puts in front: the eggs


def read(path: Path) -> tuple[Header, tuple[str, ...]]:
    """Return a module's header, and the library modules of promises that it imports."""
    place = FOLDER / path.name
    text = read_limited(path, FILE_LIMIT)
    if text is None:
        raise AllotmentError(f"{place} vanished while it was read", "Run the promises again")
    try:
        tree = _parse(text, place)
        imports = tuple(name for name in _imports(tree) if name.startswith("slapos.promise."))
        return Header(_interpreter(text, place), tuple(_paths(tree, place))), imports
    except (RecursionError, MemoryError) as error:
        raise AllotmentError(f"{place}: nests too deeply to be read", "Simplify it") from error


def _parse(text: bytes, place: Path) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        number = error.lineno if isinstance(error, SyntaxError) else None
        line = f", line {number}" if number else ""
        raise AllotmentError(f"{place}{line}: is no Python: {error.args[0]}", "Mend the file") from error


def _interpreter(text: bytes, place: Path) -> tuple[str, ...]:
    first = text.partition(b"\n")[0]
    if not first.startswith(b"#!"):
        return (sys.executable,)
    try:
        words = shlex.split(first[2:].decode("utf-8", "replace"))
    except ValueError:  # a quotation mark without its other
        words = []
    if not words or not any(Path(word).name.startswith("python") for word in words[:2]):
        raise AllotmentError(f"{place}: the first line names no Python", "Write one like #!/usr/bin/python3")
    return tuple(words)


def _paths(tree: ast.Module, place: Path) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sys.path[0:0]":
            try:
                yield from map(str, ast.literal_eval(node.value))
            except (ValueError, TypeError) as error:
                what = f"{place}, line {node.lineno}: sys.path[0:0] is no list of texts"
                raise AllotmentError(what, "Write the eggs' paths out") from error


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
