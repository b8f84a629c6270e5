# SPDX-License-Identifier: Apache-2.0
"""Where a job's log names its test cases: the line that pytest prints of each, or the job itself of its checks."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from allotment.messages.job import TestCase

# "[gw0] [ 10%] PASSED ../source/software/x/test/test_y.py::test_z" of pytest -v with xdist, and a job's own
# "checks: has promises: passed".
_PYTEST: Final = re.compile(rb"\[gw\d+\] \[ *\d+%\] [A-Z]+ (\S.*)")
_CHECK: Final = re.compile(rb"([^:]+: [^:]+): (?:passed|failed|error|skipped)\b")
_LONGEST: Final = 2000  # bytes of a line that are looked at


def with_lines(cases: Iterable[TestCase], log: Path, folder: str) -> tuple[TestCase, ...]:
    """Return the cases, each with the line of the log that names it, as far as there is one; the last counts.

    ``folder`` is the release's: reports call a test by its place in it, pytest's output by the way there.
    """
    wanted = [(f"{case.suite}: {case.name}", case) for case in cases]
    found: dict[str, int | None] = {name: None for name, _ in wanted}  # a log may name much more
    with log.open("rb") as file:
        for number, line in enumerate(_beginnings(file), 1):
            name = _named(line, folder)
            if name in found:
                found[name] = number
    return tuple(replace(case, line=found[name]) for name, case in wanted)


def _beginnings(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what is looked at of each line; the rest of a long one is never in memory at once."""
    while line := file.readline(_LONGEST):
        yield line
        while len(line) == _LONGEST and not line.endswith(b"\n"):
            line = file.readline(_LONGEST)


def _named(line: bytes, folder: str) -> str:
    """Return ``suite: name`` of the case that a line names, "" if it is no such line."""
    if match := _PYTEST.match(line):
        return junit_name(_text(match[1]), folder)
    match = _CHECK.match(line)
    return _text(match[1]) if match else ""


def junit_name(node: str, folder: str) -> str:
    """Return ``suite: name`` of JUnit's report for ``../x/test/test_y.py::TestZ::test_z[a]`` of the folder ``x``."""
    address, bracket, parameters = node.partition("[")
    path, *names = address.split("::")
    *classes, name = names or [""]
    inside = path.rpartition(f"{folder}/")[2].removesuffix(".py")
    suite = ".".join([*inside.split("/"), *classes])
    return f"{suite}: {name}{bracket}{parameters}"


def _text(words: bytes) -> str:
    return words.decode(errors="replace").strip()
