# SPDX-License-Identifier: Apache-2.0
"""Charts of builds, and builds on more cores than there are."""

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from benchmarks.simulated import Step, critical_path, simulate
from tests.recipes.graph.conftest import Graph
from tests.recipes.graph.test_progress import command, write

from allotment.errors import AllotmentError
from allotment_recipes.graph.chart import Bar, Panel, bars, charted, draw
from allotment_recipes.graph.events import EVENTS, Event

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND: dict[str, list[str]] = {"base": [], "left": ["base"], "right": ["base"], "top": ["left", "right"]}


def test_what_was_at_work_when_is_known_by_the_events() -> None:
    events = [
        Event(100, "one", "waiting"), Event(100, "here", "reused"), Event(101, "one", "started"),
        Event(102, "two", "started"), Event(104, "two", "failed"), Event(105, "one", "built"),
        Event(106, "killed", "started"),
    ]  # fmt: skip
    assert bars(events) == [Bar("one", 0, 4), Bar("two", 1, 3, has_failed=True)]


def test_each_bar_stands_where_its_seconds_are() -> None:
    picture = ET.fromstring(draw("It & more", [Panel("here", [Bar("a<b", 0, 60), Bar("c", 30, 60)])]))
    first, second = picture.iter(f"{SVG}rect")
    assert float(second.get("x", 0)) == pytest.approx(
        float(first.get("x", 0)) + float(first.get("width", 0)) / 2, abs=0.2
    )
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert {"It & more", "here", "a<b", "c", "60.0", "30.0", "10 s"} <= set(texts)


def test_the_command_draws_its_build_also_when_it_fails(graph: Graph) -> None:
    write(graph)
    subprocess.run(command(graph, "--chart", f"{graph.place}/it.svg"), capture_output=True, check=True)
    assert len(list(ET.parse(graph.place / "it.svg").iter(f"{SVG}rect"))) == 2
    lost = command(graph, "--chart", f"{graph.place}/no/it.svg")
    graph.write({"bad": "| pre-build = false"})
    done = subprocess.run(command(graph, "--chart", f"{graph.place}/bad.svg"), capture_output=True, text=True)
    assert done.returncode == 1
    assert len(list(ET.parse(graph.place / "bad.svg").iter(f"{SVG}rect"))) == 1
    done = subprocess.run(lost, capture_output=True, text=True)
    assert done.returncode == 1
    assert "it.svg can't be written" in done.stderr and "[bad]" not in done.stderr


def test_a_chart_that_cannot_be_written_is_told_and_never_hides_why_a_build_failed(tmp_path: Path) -> None:
    event = '{"at": 1, "part": "one", "event": "%s"}\n'
    (tmp_path / EVENTS).write_text(event % "started" + event % "built")
    path = tmp_path / "late/it"
    for error in (None, ValueError("the build's own")):
        path.parent.mkdir()
        expected = "the build's own" if error else "it can't be written: No such file"
        with pytest.raises((AllotmentError, ValueError), match=expected), charted(path, tmp_path):
            path.parent.rmdir()
            if error is not None:
                raise error


@pytest.mark.parametrize("name", ["nowhere/it.svg", "."])
def test_a_chart_that_cannot_be_written_is_told_before_anything_is_built(tmp_path: Path, name: str) -> None:
    begun = []
    with (
        pytest.raises(AllotmentError, match=r"--chart: .* can't be written\. Name a file"),
        charted(tmp_path / name, tmp_path),
    ):
        begun.append(name)
    assert not begun


def test_without_events_or_a_path_nothing_is_drawn(tmp_path: Path) -> None:
    for path in (tmp_path / "it.svg", None):
        with charted(path, tmp_path):
            pass
    (tmp_path / EVENTS).write_text("")
    assert [item.name for item in tmp_path.iterdir()] == [EVENTS]


def test_a_simulated_build_shares_cores_among_what_makes() -> None:
    steps = [Step(1.0, is_parallel=False), Step(8.0, is_parallel=True)]
    parts = dict.fromkeys(DIAMOND, steps)
    ends = {bar.part: bar.end for bar in simulate(DIAMOND, parts, 4, 4)}
    assert ends == pytest.approx({"base": 3, "left": 8, "right": 8, "top": 11})
    assert max(bar.end for bar in simulate(DIAMOND, parts, 4, 1)) == pytest.approx(12)
    assert critical_path(DIAMOND, parts, 4) == pytest.approx(9)


def test_more_parts_than_cores_share_them_evenly() -> None:
    parts = {str(number): [Step(1.0, is_parallel=False)] for number in range(4)}
    assert max(bar.end for bar in simulate({part: [] for part in parts}, parts, 2, 4)) == pytest.approx(2)
