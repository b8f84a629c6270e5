# SPDX-License-Identifier: Apache-2.0
"""Whole builds: which parts are at work at the same time, and what happens when one of them fails or is killed."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
from tests.recipes.graph.conftest import Graph

from allotment_recipes.engine import BuildEngine, BuildResult
from allotment_recipes.installed_parts import read as read_installed

SLEEP = "pre-build = sleep 0.5"
DIAMOND = {"base": f"| {SLEEP}", "left": f"base | {SLEEP}", "right": f"base | {SLEEP}", "top": f"left right | {SLEEP}"}


def overlap(one: tuple[float, float], two: tuple[float, float]) -> float:
    """Return the seconds during which both were at work."""
    return min(one[1], two[1]) - max(one[0], two[0])


def test_the_sides_of_a_diamond_are_built_at_the_same_time_and_its_ends_alone(graph: Graph) -> None:
    graph.write({**DIAMOND, "left": f"base | {graph.held}", "right": f"base | {graph.held}"})
    with building(graph) as found:
        wait(lambda: graph.at_work() == {"left", "right"})
        graph.let_go()
    assert [result.error for result in found] == [""]
    times = graph.times()
    assert overlap(times["left"], times["right"]) > 0
    assert times["base"][1] <= min(times["left"][0], times["right"][0])
    assert max(times["left"][1], times["right"][1]) <= times["top"][0]
    assert [name for name, _ in read_installed(graph.place / "built/.installed.cfg")] == list(DIAMOND)
    assert not (graph.place / "built/.jobs").exists()


def test_with_one_job_only_one_part_is_at_work(graph: Graph) -> None:
    graph.write(DIAMOND)
    assert graph.build(jobs=1).ok
    times = sorted(graph.times().values())
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(times))


def test_what_took_longest_the_last_time_begins_first(graph: Graph) -> None:
    graph.write({"quick": "", "slow": "| pre-build = sleep 0.7"})
    assert graph.build().ok
    graph.write({"quick": "| version = 2", "slow": "| version = 2"})
    assert graph.build(jobs=1).ok
    times = graph.times()
    waiting = {event.part: event.expected or 0.0 for event in graph.events() if event.event == "waiting"}
    assert waiting["slow"] >= 0.7
    assert waiting["quick"] > 0
    assert min(times, key=times.__getitem__) == max(waiting, key=waiting.__getitem__), "mostly slow before quick"


def test_a_second_build_reuses_all_and_begins_nothing(graph: Graph) -> None:
    graph.write(DIAMOND)
    assert graph.build().ok
    assert graph.build("other").ok
    assert graph.ended("other") == dict.fromkeys(DIAMOND, "reused")


def test_each_part_has_its_log(graph: Graph) -> None:
    graph.write(DIAMOND)
    assert graph.build().ok
    for part in DIAMOND:
        assert "== make install" in (graph.place / f"built/.log/{part}.log").read_text()


def test_after_a_failure_nothing_begins_and_what_is_at_work_is_let_end(graph: Graph) -> None:
    parts = {"bad": "| pre-build = false", "long": f"| {graph.held}", "user": "bad", "next": "long"}
    graph.write(parts)
    with building(graph) as found:
        wait(lambda: graph.ended() == {"bad": "failed"} and graph.at_work() == {"long"})
        graph.let_go()
    (result,) = found
    assert result.error.startswith("[bad] pre-build failed with exit code 1: false\n")
    assert graph.ended() == {"bad": "failed", "long": "built"}
    (graph.release.root / "signals/go").unlink()  # it is a part of the release as long as it is there
    graph.write({**parts, "bad": ""})
    assert graph.build().ok
    assert graph.ended() == {"bad": "built", "long": "reused", "user": "built", "next": "built"}


def test_all_failures_are_told(graph: Graph) -> None:
    graph.write({"one": "| pre-build = false", "two": f"| {graph.held}; exit 3"})
    with building(graph) as found:
        wait(lambda: graph.ended() == {"one": "failed"} and graph.at_work() == {"two"})
        graph.let_go()
    (error,) = (result.error for result in found)
    assert error.startswith("2 parts could not be built:\n[one] pre-build failed with exit code 1")
    assert "\n[two] pre-build failed with exit code 3" in error


def test_with_keep_going_all_that_needs_no_failed_part_is_built(graph: Graph) -> None:
    template = "[note]\nrecipe = allotment.recipes:template.jinja2\ninline = {}\noutput = ${{buildout:directory}}/{}\n"
    more = template.format("${good:location}", "note")
    more += "[lost]\n" + template.format("${bad:location}", "lost").partition("\n")[2] + "[buildout]"
    parts = {"bad": "| pre-build = false", "user": "bad", "top": "user", "good": f"| {SLEEP}", "next": "good"}
    graph.write(parts, more)
    text = (graph.release.root / "software.cfg").read_text()
    names = " ".join(parts)
    graph.release.write("software.cfg", text.replace(f"parts = {names}", f"parts = {names} note lost"))
    result = graph.build(keep_going=True)
    assert result.error.startswith("[bad] pre-build failed with exit code 1: false\n")
    assert result.error.endswith("\nnot built, because they need it: user, top, lost.")
    assert graph.ended() == {"bad": "failed", "good": "built", "next": "built"}
    assert (graph.place / "built/note").read_text().strip() == str(next(graph.store.glob("good-*")))
    assert not (graph.place / "built/lost").exists()
    installed = [name for name, _ in read_installed(graph.place / "built/.installed.cfg")]
    assert installed == ["good", "next", "note"]
    graph.write({**parts, "bad": ""}, more)
    assert graph.build().ok


def wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 50
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def nap(part: str) -> str:
    """Return a command that takes long, and that no other test has at work at the same time."""
    return f"sleep 50.{os.getpid()}{part}"


def child_of(graph: Graph, part: str) -> psutil.Process:
    """Return the process that builds a part, when its nap is at work."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.info["cmdline"] == nap(part).split():
                    ours = [parent for parent in process.parents() if "zygote" in " ".join(parent.cmdline())]
                    return ours[-3]  # the first is the zygote, the second the run
        time.sleep(0.02)
    raise AssertionError(f"{part} is not at work: {graph.log().read_text()}")


@contextlib.contextmanager
def building(graph: Graph, folder: str = "built", jobs: int = 4) -> Iterator[list[BuildResult]]:
    """Build while the block runs; the result is in the list afterwards."""
    found: list[BuildResult] = []
    thread = threading.Thread(target=lambda: found.append(graph.build(folder, jobs=jobs)))
    thread.start()
    try:
        yield found
    finally:
        thread.join(100)


def test_a_part_that_is_killed_is_told_as_such_and_leaves_nothing_at_work(graph: Graph) -> None:
    graph.write({"victim": f"| pre-build = {nap('1')}", "other": f"| {SLEEP}"})
    with building(graph) as found:
        victim = child_of(graph, "1")
        at_work = psutil.process_iter(["cmdline"])
        sleeping = [process for process in at_work if process.info["cmdline"] == nap("1").split()]
        victim.kill()
    (result,) = found
    assert result.error.startswith("[victim] its process was killed by SIGKILL after ")
    assert result.error.endswith("Build again: nothing half done stays.")
    assert result.cause == "machine"
    assert graph.ended() == {"victim": "failed", "other": "built"}
    psutil.wait_procs(sleeping, timeout=30)
    assert not any(process.is_running() for process in sleeping)
    graph.write({"victim": "", "other": f"| {SLEEP}"})
    assert graph.build().ok
    assert graph.parts() == ["other", "victim"]


def test_nothing_is_at_work_when_the_run_itself_is_killed(graph: Graph) -> None:
    graph.write({"one": f"| pre-build = {nap('1')}", "two": f"| pre-build = {nap('2')}"})
    with BuildEngine() as engine:
        results = []
        thread = threading.Thread(target=lambda: results.append(engine.build(graph.request(), graph.log())))
        thread.start()
        children = [child_of(graph, "1"), child_of(graph, "2")]
        children[0].parent().kill()
        thread.join(60)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_what_told_of_the_jobs_of_a_killed_build_goes_also_when_nothing_is_to_be_built(graph: Graph) -> None:
    graph.write({"one": ""})
    assert graph.build().ok
    left = graph.place / "built/.jobs"
    left.mkdir()
    os.mkfifo(left / "fifo")
    assert graph.build().ok
    assert not left.exists()


def test_two_builds_of_one_job_that_need_the_same_parts_in_another_order_both_end(graph: Graph) -> None:
    parts = dict.fromkeys(("one", "two", "three", "four"), "| pre-build = sleep 0.3")
    graph.write(parts)
    with BuildEngine() as engine:
        request = graph.request("other", jobs=1)
        backwards = dict(reversed(parts.items()))
        root = graph.place / "backwards"
        root.mkdir()
        text = (graph.release.root / "software.cfg").read_text()
        (root / "software.cfg").write_text(text.replace(" ".join(parts), " ".join(backwards)))
        results = []
        thread = threading.Thread(
            target=lambda: results.append(engine.build(replace(request, closure=root), graph.log("other")))
        )
        thread.start()
        assert graph.build(jobs=1).error == ""
        thread.join(100)
    assert [result.error for result in results] == [""]
    assert graph.parts() == sorted(parts)
    ends = [graph.ended(), graph.ended("other")]
    assert all(sorted(end[part] for end in ends) in (["built", "reused"], ["reused", "reused"]) for part in parts)


def test_a_part_that_waits_for_another_build_gives_its_job_to_the_next(graph: Graph) -> None:
    held = f"| {graph.held}"
    graph.write({"common": held})
    with building(graph, "first") as first:
        wait(lambda: list(graph.store.glob("common-*")))
        graph.write({"common": held, "own": "", "user": "common"})
        with building(graph, "second", jobs=1) as second:
            wait(lambda: graph.ended("second") == {"own": "built"})
            graph.let_go()
    assert [result.error for result in (*first, *second)] == ["", ""]
    assert graph.ended("second") == {"common": "reused", "own": "built", "user": "built"}


def test_an_old_record_never_takes_away_the_folder_of_a_part_that_is_wanted(graph: Graph) -> None:
    graph.write({"own": "| shared = false"})
    assert graph.build().ok
    (folder,) = (graph.place / "built/store").glob("own-*")
    made = folder.stat().st_ino
    graph.write({"own": "| shared = false\ndescription = another one"})
    assert graph.build().ok
    assert "Uninstalling own." in graph.log().read_text()
    assert folder.stat().st_ino == made
