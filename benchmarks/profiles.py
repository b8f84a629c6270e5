# SPDX-License-Identifier: Apache-2.0
"""How long it takes to read a software profile that extends many others, in a process that has buildout imported.

The peer is zc.buildout's own reader over the same files: one profile that extends 100 others, of 11 sections each. The
tree is as those of SlapOS: each of 434 profiles extends a few of those before it, so that most are reached by many
ways. zc.buildout reads a profile once for each way, which takes it hours there; how ours grows from half of the tree to
all of it is told instead: in calls of functions, which other work of the machine does not change. Each reading is in a
fork of its own, as in a build; the seconds are of the processor.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zc.buildout.buildout as upstream

from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.journal import Journal
from allotment_recipes.tokens import Tokens
from benchmarks.measure import Result, Sample, alternately, calls, main, median

FILES = 100
SECTIONS = 11
TREE = 434  # profiles of components that SlapOS has
GOAL_SECONDS = 0.1
QUIET = {"log-level": "WARNING"}
GROWTH = 2.1  # in calls, of twice as many profiles


def write_flat(folder: Path, files: int) -> Path:
    """Write a profile that extends ``files`` others; return its path."""
    names = [f"{number}.cfg" for number in range(files)]
    for number, name in enumerate(names):
        sections = (f"[part-{number}-{other}]\nrecipe = r\nurl = u\nsha256sum = s\n" for other in range(SECTIONS - 1))
        (folder / name).write_text(f"{''.join(sections)}[versions]\negg{number} = 1.0\n")
    return _write_top(folder, names)


def write_tree(folder: Path, files: int) -> Path:
    """Write profiles of components, each of which extends some of those before it; return the path of the last."""
    choice = random.Random(7)
    for number in range(files):
        below = choice.sample(range(max(0, number - 40), number), min(number, choice.randrange(5)))
        extends = "".join(f"\n  {other}.cfg" for other in sorted(below))
        text = f"[buildout]\nextends ={extends}\nparts = c{number}\n" if extends else "[buildout]\n"
        text += f"[c{number}]\nrecipe = r\nurl = u\nsha256sum = s\nenvironment =\n  A=${{c{number}:url}}\n  B=b\n"
        (folder / f"{number}.cfg").write_text(f"{text}[versions]\negg{number} = 1.0\n")
    return _write_top(folder, [f"{number}.cfg" for number in range(files)])


def _write_top(folder: Path, names: list[str]) -> Path:
    path = folder / f"software-{len(names)}.cfg"
    path.write_text("[buildout]\nextends =\n" + "".join(f"  {name}\n" for name in names) + "parts =\n")
    return path


def read_ours(profile: Path) -> dict[str, dict[str, str]]:
    """Return all sections as the driver reads them."""
    run = RunContext(profile.parent, Journal(immediate=True), profile.parent, Tokens(b""))
    raw = Buildout(profile, run, QUIET)._raw
    return {name: {key: raw[name][key] for key in raw[name] if key[0] != "_"} for name in raw}


def read_peer(profile: Path) -> dict[str, dict[str, str]]:
    """Return all sections as zc.buildout reads them."""
    options = [("buildout", "directory", str(profile.parent)), ("buildout", "offline", "true")]
    options += [("buildout", "newest", "false"), *(("buildout", *item) for item in QUIET.items())]
    found: dict[str, dict[str, str]] = upstream.Buildout(str(profile), options, use_user_defaults=False)._raw
    return found


def in_a_fork(work: Callable[[], object]) -> Callable[[], Sample]:
    """Return a function that does ``work`` in a child process, and says how long that took."""

    def run() -> Sample:
        started = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise RuntimeError("a reader failed")
        return Sample(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)

    return run


def measure(quick: bool) -> Result:
    """Read both sets of profiles; both readers must find the same."""
    with tempfile.TemporaryDirectory() as folder:
        flat, tree = Path(folder, "flat"), Path(folder, "tree")
        flat.mkdir()
        tree.mkdir()
        profile = write_flat(flat, FILES)
        half, whole = write_tree(tree, TREE // 2), write_tree(tree, TREE)
        here = Path.cwd()
        if read_ours(profile) != read_peer(profile):
            raise RuntimeError("the two readers differ")
        counts = [calls(lambda path=path: read_ours(path)) for path in (half, whole)]  # type: ignore[misc]
        os.chdir(here)
        rounds = 3 if quick else 9
        runs = {"ours": in_a_fork(lambda: read_ours(profile)), "peer": in_a_fork(lambda: read_peer(profile))}
        medians = {name: median(samples) for name, samples in alternately(runs, rounds).items()}
        runs = {"half": in_a_fork(lambda: read_ours(half)), "whole": in_a_fork(lambda: read_ours(whole))}
        trees = {name: median(samples) for name, samples in alternately(runs, rounds).items()}
    growth = counts[1] / counts[0]
    return Result(
        id="P",
        what=f"{FILES} profiles of {SECTIONS} sections, extended",
        ours=round(medians["ours"].cpu, 4),
        peer=round(medians["peer"].cpu, 4),
        unit="s",
        goal=f"<= {GOAL_SECONDS} s; twice the tree of {TREE // 2} profiles <= {GROWTH} x the calls",
        holds=medians["ours"].cpu <= GOAL_SECONDS and growth <= GROWTH,
        details={
            "wall": round(medians["ours"].wall, 4),
            "peer wall": round(medians["peer"].wall, 4),
            "tree": round(trees["whole"].cpu, 4),
            "half of the tree": round(trees["half"].cpu, 4),
            "growth of calls": round(growth, 2),
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
