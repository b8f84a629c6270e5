# SPDX-License-Identifier: Apache-2.0
"""The work of reading grows as what is read: counted in calls, not in seconds."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.measure import calls

from allotment_recipes.reader.files import Reader
from allotment_recipes.reader.macros import with_macros


def flat(folder: Path, size: int) -> None:
    for number in range(size):
        (folder / f"{number}.cfg").write_text(f"[s{number}]\na = 1\n[versions]\nv{number} = 1\nall += {number}\n")
    top(folder, range(size))


def chain(folder: Path, size: int) -> None:
    for number in range(size):
        below = f"[buildout]\nextends = {number - 1}.cfg\n" if number % 100 else ""
        (folder / f"{number}.cfg").write_text(f"{below}[s]\na = {number}\nb += {number}\n")
    top(folder, [size - 1, *range(99, size, 100)])


def diamonds(folder: Path, size: int) -> None:
    """Each extends the two before it: there are as many ways to the first as Fibonacci says."""
    for number in range(size):
        below = " ".join(f"{other}.cfg" for other in (number - 2, number - 1) if other >= 0 and number % 100)
        (folder / f"{number}.cfg").write_text(f"[buildout]\nextends = {below}\n[s{number}]\n<= s\nk += 1\n")
    top(folder, range(size))


def sections(folder: Path, size: int) -> None:
    top(folder, [])
    with (folder / "top.cfg").open("a") as file:
        file.writelines(f"[s{number}]\na = 1\nb += 2\n" for number in range(size))


def lines(folder: Path, size: int) -> None:
    top(folder, [])
    with (folder / "top.cfg").open("a") as file:
        file.writelines(["[s]\na =\n", *(f"  {number}\n" for number in range(size)), *["a += 1\n"] * size])


def top(folder: Path, names: Any) -> None:
    (folder / "top.cfg").write_text("[buildout]\nextends =\n" + "".join(f"  {name}.cfg\n" for name in names))


@pytest.mark.parametrize("write", [flat, chain, diamonds, sections, lines])
def test_twice_as_much_to_read_is_twice_the_work(write: Callable[[Path, int], None], tmp_path: Path) -> None:
    counts = []
    for size in (50, 200, 400):
        folder = tmp_path / str(size)
        folder.mkdir()
        write(folder, size)
        reader = Reader(Path.read_bytes, None, [])  # type: ignore[arg-type]  # none is remote
        counts.append(calls(lambda reader=reader, folder=folder: reader.read(str(folder), "top.cfg")))  # type: ignore[misc]
    assert counts[2] - counts[1] < 1.5 * (counts[1] - counts[0]) * 200 / 150


def test_a_macro_is_merged_once_however_many_ways_lead_to_it() -> None:
    raw = {"s0": {"a": "1"}, **{f"s{n}": {"<": f"s{n - 1}\ns{n - 1}\ns{n - 1}"} for n in range(1, 100)}}
    assert calls(lambda: with_macros("s99", raw["s99"], raw, str)) < 3_000
    assert with_macros("s99", raw["s99"], raw, str) == {"a": "1"}


def test_what_two_profiles_extend_adds_once(tmp_path: Path) -> None:
    (tmp_path / "base.cfg").write_text("[list]\nitems += base\n")
    for name in ("left", "right"):
        (tmp_path / f"{name}.cfg").write_text(f"[buildout]\nextends = base.cfg\n[list]\nitems += {name}\n")
    (tmp_path / "top.cfg").write_text(
        textwrap.dedent("""\
        [buildout]
        extends =
          left.cfg
          right.cfg
          ./base.cfg
        [list]
        items += top
        """)
    )
    found = Reader(Path.read_bytes, None, []).read(str(tmp_path), "top.cfg")  # type: ignore[arg-type]
    assert found["list"]["items"].value == "base\nleft\nright\ntop"
