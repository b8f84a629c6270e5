# SPDX-License-Identifier: Apache-2.0
"""Allocation: a free partition that fits, or the reason why there is none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from allotment.errors import AllotmentError


def test_instance_gets_a_partition_of_a_node_with_its_release(house: Any) -> None:
    sha256 = house.ready()
    info = house.request()
    assert (info.node, info.partition, info.manifest, info.status) == ("node-1", "part0", sha256, "requested")
    document = house.documents()["one:one"]
    assert (document.partition, document.instance, document.generation) == ("part0", "inst-1", 1)


def test_nodes_fill_up_side_by_side(house: Any) -> None:
    house.ready()
    house.add_node("node-2")
    house.supply("node-2")
    places = [house.request(f"i{number}") for number in range(4)]
    assert [(info.node, info.partition) for info in places] == [
        ("node-1", "part0"),
        ("node-2", "part0"),
        ("node-1", "part1"),
        ("node-2", "part1"),
    ]


@pytest.mark.parametrize("sla", [{"node": "node-2"}, {"label:zone": "b"}, {"node": "node-2", "label:zone": "b"}])
def test_constraint_decides_the_node(house: Any, sla: dict[str, str]) -> None:
    house.ready()
    house.add_node("node-2", zone="b")
    house.supply("node-2")
    assert house.request(sla=sla).node == "node-2"


def test_reason_says_what_each_node_lacks(house: Any) -> None:
    house.add_release()
    assert house.request("none").error == "There is no place: no node is registered."
    house.add_node("full", partitions=1, zone="a")
    house.add_node("bare", zone="a")
    house.supply("full")
    house.request("first", sla={"node": "full"})
    found = house.request("one", sla={"label:zone": "a"})
    assert (found.status, found.node) == ("requested", None)
    assert found.error == (
        "There is no place: full: all its partitions are taken; bare: release hello is not supplied."
    )
    found = house.request("two", sla={"label:zone": "b", "node": "full"})
    assert found.error == (
        "There is no place: full: is not label:zone=b; "
        "bare: is not label:zone=b, is not node=full, release hello is not supplied."
    )


@pytest.mark.parametrize(
    ("sla", "fix"), [({"nod": "x"}, "Did you mean 'node'? Valid: label:*, node"), ({"label:": "x"}, "Valid")]
)
def test_unknown_constraint_is_refused_with_the_nearest(house: Any, sla: dict[str, str], fix: str) -> None:
    house.ready()
    with pytest.raises(AllotmentError) as caught:
        house.request(sla=sla)
    assert f"'{next(iter(sla))}' is not a constraint" in str(caught.value)
    assert fix in str(caught.value)


def test_waiting_instance_is_housed_by_a_node_a_supply_and_a_partition_that_comes(house: Any) -> None:
    house.add_release()
    house.request("one")
    house.add_node("node-1", partitions=1)
    assert house.master.instance("one").node is None
    house.supply()
    assert house.master.instance("one").node == "node-1"
    assert house.request("two").error != ""
    house.set_state("one", "destroyed")
    house.report(house.documents()["one:one"], status="destroyed")
    found = house.master.instance("two")
    assert (found.node, found.error) == ("node-1", "")


def test_instance_that_can_be_housed_is_not_kept_waiting_by_those_that_can_not(house: Any) -> None:
    house.ready(partitions=0)
    for number in range(30):
        house.request(f"hopeless{number}", sla={"node": "gone"})
    house.request("hopeful")
    house.add_node(partitions=1)
    for _ in range(12):
        house.now[0] += 60.0
        house.master.see("node-1")
    assert house.master.instance("hopeful").node == "node-1"


def test_missed_change_is_made_up_for_at_a_nodes_next_call(house: Any, make_house: Callable[[], Any]) -> None:
    house.add_release()
    house.request("one")
    house.add_node()
    with house.master.database.write() as connection:  # as if the change that supplied it had missed the instance
        from sqlalchemy import insert

        from allotment_master.db.schema import supplies

        manifest = house.master.instance("one").manifest
        connection.execute(
            insert(supplies).values(node_id=1, manifest=manifest, state="available", development=False, error="")
        )
    house.master.see("node-1")
    assert house.master.instance("one").node == "node-1"


def test_partition_that_is_used_again_goes_on_counting_generations(house: Any) -> None:
    house.ready(partitions=1)
    house.request("one")
    first = house.documents()["one:one"]
    house.set_state("one", "destroyed")
    doomed = house.documents()["one:one"]
    house.report(doomed, status="destroyed")
    house.request("two")
    second = house.documents()["two:two"]
    assert (first.partition, second.partition) == ("part0", "part0")
    assert first.generation < doomed.generation < second.generation


def test_concurrent_requests_get_a_place_each_and_none_is_lost(make_house: Callable[[], Any]) -> None:
    houses = [make_house(), make_house()]  # two masters of one database
    houses[0].add_release()
    for number in range(4):
        houses[0].add_node(f"node-{number}", partitions=50)
        houses[0].supply(f"node-{number}")
    with ThreadPoolExecutor(16) as pool:
        infos = list(pool.map(lambda number: houses[number % 2].request(f"i{number}"), range(200)))
    places = {(info.node, info.partition) for info in infos}
    assert len(places) == 200
    assert None not in {info.node for info in infos}
    stored = {
        info.name: (info.node, info.partition) for info in (houses[0].master.instance(f"i{n}") for n in range(200))
    }
    assert stored == {info.name: (info.node, info.partition) for info in infos}
    assert houses[0].request("late").error.count("all its partitions are taken") == 4


def test_the_same_name_asked_for_at_once_is_one_instance(make_house: Callable[[], Any]) -> None:
    houses = [make_house(), make_house()]
    houses[0].ready(partitions=50)
    with ThreadPoolExecutor(16) as pool:
        infos = list(pool.map(lambda number: houses[number % 2].request("same"), range(40)))
    assert {info.instance for info in infos} == {infos[0].instance}
    assert [node.free for node in houses[0].master.read(_nodes)] == [49]


def _nodes(connection: Any) -> Any:
    from allotment_master.db import nodes

    return nodes.every(connection, "", 10)
