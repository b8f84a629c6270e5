# SPDX-License-Identifier: Apache-2.0
"""The order in which parts begin."""

from allotment_recipes.graph.schedule import Schedule

DIAMOND = {"base": (), "left": ("base",), "right": ("base",), "top": ("left", "right")}


def test_the_part_with_the_longest_way_behind_it_comes_first() -> None:
    graph = {"short": (), "alone": (), "long": (), "user": ("short",)}
    schedule = Schedule(graph, {"short": 1.0, "alone": 5.0, "long": 3.0, "user": 9.0})
    assert schedule.ready() == ["short", "alone", "long"]
    assert schedule.remaining == {"short": 10.0, "alone": 5.0, "long": 3.0, "user": 9.0}


def test_without_durations_chains_come_first_and_equals_in_the_order_of_the_profile() -> None:
    graph = {"one": (), "two": (), "three": (), "four": ("three",)}
    assert Schedule(graph, {}).ready() == ["three", "one", "two"]


def test_a_part_of_unknown_duration_is_taken_to_be_usual() -> None:
    schedule = Schedule({"new": (), "small": (), "big": ()}, {"small": 1.0, "big": 9.0})
    assert schedule.ready() == ["big", "new", "small"]


def test_a_part_begins_when_all_that_it_refers_to_is_done() -> None:
    schedule = Schedule(DIAMOND, {})
    begun = []
    while ready := schedule.ready():
        begun.append(ready)
        for part in ready:
            schedule.begin(part)
            schedule.finish(part)
    assert begun == [["base"], ["left", "right"], ["top"]]


def test_what_is_there_already_is_waited_for_by_nobody() -> None:
    assert Schedule(DIAMOND, {}, done=["base", "left"]).ready() == ["right"]


def test_a_failure_takes_all_that_needs_the_part_with_it_and_nothing_else() -> None:
    schedule = Schedule({**DIAMOND, "other": ()}, {})
    schedule.begin("base")
    schedule.finish("base")
    schedule.begin("left")
    assert schedule.fail("left") == ["top"]
    assert schedule.ready() == ["right", "other"]


def test_parts_that_refer_to_each_other_come_in_the_order_of_the_profile() -> None:
    schedule = Schedule({"one": ("two",), "two": ("one",)}, {})
    assert schedule.ready() == ["one"]
    schedule.begin("one")
    schedule.finish("one")
    assert schedule.ready() == ["two"]
