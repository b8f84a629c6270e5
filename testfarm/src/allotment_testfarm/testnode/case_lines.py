# SPDX-License-Identifier: Apache-2.0
"""Where a job's log names its test cases: the line that pytest prints of each, or the job itself of its checks."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

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
    found: dict[str, int] = {}
    with log.open("rb") as file:
        for number, line in enumerate(file, 1):
            if match := _PYTEST.match(line[:_LONGEST]):
                found[junit_name(_text(match[1]), folder)] = number
            elif match := _CHECK.match(line[:_LONGEST]):
                found[_text(match[1])] = number
    return tuple(replace(case, line=found.get(f"{case.suite}: {case.name}")) for case in cases)


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
