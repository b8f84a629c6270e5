# SPDX-License-Identifier: Apache-2.0
"""Reports of nodes: status, children, answers to parents, and what must not be believed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event

from allotment.errors import AllotmentError
from allotment.messages.desired_state import ObservedSoftware, ObservedState, SoftwareStatus
from allotment.messages.instance import ChildAnswer, ChildRequest, InstanceRequests, InstanceState
from allotment.secret import Secret


def test_status_counts_for_the_generation_it_was_reported_of(house: Any, promise: Any) -> None:
    house.ready()
    house.request()
    document = house.documents()["one:one"]
    house.report(document, promises=(promise("web", "passed", "fine"),))
    found = house.master.instance("one")
    assert (found.status, [item.name for item in found.promises]) == ("green", ["web"])
    house.request(parameters={"greeting": "hi"})
    assert house.master.instance("one").status == "processing"
    house.report(document)
    assert house.master.instance("one").status == "processing"
    house.report(house.documents()["one:one"])
    assert house.master.instance("one").status == "green"


def test_overtaken_report_is_passed_over(house: Any) -> None:
    house.ready()
    house.request()
    old = house.documents()["one:one"]
    house.request(parameters={"greeting": "hi"})
    house.report_children(house.documents()["one:one"], "kept")
    house.report_children(old)
    assert house.master.instance("one/kept").state == "started"
    assert house.master.instance("one").status == "green"


def test_failed_promise_is_told_with_its_message(house: Any, promise: Any) -> None:
    house.ready()
    house.request()
    house.report(house.documents()["one:one"], status="red", promises=(promise("web", "failed", "no answer"),))
    assert house.master.instance("one").status == "red"
    last = house.master.events(0, 100)[-1]
    assert (last.kind, last.data["promises"]) == ("instance.status", {"web": "no answer"})


def test_children_are_made_with_the_parents_very_manifest(house: Any) -> None:
    sha256 = house.ready()
    house.request()
    house.add_release(licences=("MIT",))
    house.supply()
    house.report_children(house.documents()["one:one"], "db", "web", parameters={"greeting": "hi"})
    child = house.master.instance("one/db")
    assert (child.parent, child.tree, child.manifest, child.node) == ("one", "one", sha256, "node-1")
    document = house.documents()["one:db"]
    assert (document.name, document.tree, document.parameters) == ("db", "one", {"greeting": "hi"})


def test_answer_of_a_child_flows_to_its_parent_and_only_a_change_is_a_generation(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "db")
    assert house.documents()["one:one"].answers == {}
    generation = house.documents()["one:one"].generation
    for _ in range(2):
        house.publish(house.documents()["one:db"], url="http://127.0.0.2:80/", key="open sesame")
        parent = house.documents()["one:one"]
        answer = ChildAnswer(
            InstanceState.STARTED, {"url": "http://127.0.0.2:80/", "key": Secret("open sesame")}, "inst-2"
        )
        assert parent.answers == {"db": answer}
        assert parent.generation == generation + 1


def test_partial_list_only_adds_and_a_complete_one_takes_away(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "a", "b")
    house.report_children(house.documents()["one:one"], "c", complete=False)
    assert {name for name in house.documents() if house.documents()[name].state == "started"} == {
        "one:one",
        "one:a",
        "one:b",
        "one:c",
    }
    house.report_children(house.documents()["one:one"], "a")
    states = {name: document.state for name, document in house.documents().items()}
    assert states == {"one:one": "started", "one:a": "started", "one:b": "destroyed", "one:c": "destroyed"}


def test_destroying_a_parent_destroys_all_below_it(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "a")
    house.report_children(house.documents()["one:a"], "b")
    assert house.master.instance("one/a/b").tree == "one"
    house.set_state("one", "destroyed")
    assert {document.state for document in house.documents().values()} == {"destroyed"}
    for document in house.documents().values():
        house.report(document, status="destroyed")
    assert house.documents() == {}
    assert [house.master.instance(name).status for name in ("one", "one/a", "one/a/b")] == ["destroyed"] * 3


def test_doomed_parent_can_ask_for_no_more_children(house: Any) -> None:
    house.ready()
    house.request()
    document = house.documents()["one:one"]
    house.set_state("one", "destroyed")
    house.report_children(document, "late")
    assert set(house.documents()) == {"one:one"}


def test_stopping_a_parent_stops_its_children_and_starting_it_starts_them(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "a")
    house.set_state("one", "stopped")
    assert house.documents()["one:a"].state == "stopped"
    house.set_state("one", "started")
    assert house.documents()["one:a"].state == "started"


def test_child_that_is_asked_for_while_its_namesake_goes_is_asked_for_again(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "a")
    house.report_children(house.documents()["one:one"])
    house.report_children(house.documents()["one:one"], "a")
    assert "'one/a' is being destroyed" in house.master.instance("one").error
    generation = house.documents()["one:one"].generation
    house.report(house.documents()["one:a"], status="destroyed")
    assert house.documents()["one:one"].generation == generation + 1
    house.report_children(house.documents()["one:one"], "a")  # as its node answers to a new generation
    assert (house.documents()["one:a"].state, house.master.instance("one").error) == ("started", "")


def test_child_of_a_release_that_came_later_is_asked_for_again(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], "a", release="later")
    assert "no release is called 'later'" in house.master.instance("one").error
    generation = house.documents()["one:one"].generation
    house.add_release("later")
    house.supply(release="later")
    assert house.documents()["one:one"].generation == generation + 1
    house.report_children(house.documents()["one:one"], "a", release="later")
    assert house.documents()["one:a"].state == "started"
    house.supply(release="later")
    assert house.documents()["one:one"].generation == generation + 1


def test_endless_list_of_children_is_cut(house: Any) -> None:
    house.ready()
    house.request()
    house.report_children(house.documents()["one:one"], *(f"c{number}" for number in range(5000)), release="x" * 2000)
    error = house.master.instance("one").error
    assert error.endswith("Of 5000 children the first 200 were looked at. Ask for fewer.")
    assert len(error) < 120_000


@pytest.mark.parametrize("generation", [-1, 2**31 - 1, 2**53])
def test_generation_that_was_never_sent_is_refused(house: Any, generation: int) -> None:
    house.ready()
    house.request()
    with pytest.raises(AllotmentError, match=f"inst-1 has no generation {generation}. Report one that was sent."):
        house.report(house.documents()["one:one"], generation=generation)
    assert house.request(parameters={"greeting": "hi"}).generation == 2


def test_one_wrong_child_is_told_and_stops_no_other(house: Any) -> None:
    house.ready()
    house.request()
    asked = (
        ChildRequest("bad", "nothing"),
        ChildRequest("a b", "hello"),
        ChildRequest("both", "hello", shared=True),
        ChildRequest("good", "hello"),
    )
    house.report(house.documents()["one:one"], requests=InstanceRequests(True, asked))
    assert house.master.instance("one/good").node == "node-1"
    assert house.master.instance("one").error == (
        "Child 'bad': no release is called 'nothing'. Did you mean 'hello'? Valid: hello. "
        "Child 'a b': this is no instance's name. Use up to 63 letters, digits, '.', '_' and '-'. "
        "Child 'both': it is asked for as a shared instance, which this master does not offer. Ask without."
    ).replace("Did you mean 'hello'? ", "")
    house.report_children(house.documents()["one:one"], "good")
    assert house.master.instance("one").error == ""


def test_tree_has_limits(house: Any) -> None:
    house.ready(partitions=120)
    house.request()
    house.report_children(house.documents()["one:one"], *(f"c{number}" for number in range(101)))
    assert house.master.instance("one").error == (
        "Child 'c100': a tree has up to 8 levels and 100 children each. Ask for fewer."
    )


def test_node_can_speak_of_its_own_instances_only(house: Any) -> None:
    house.ready()
    house.request()
    house.add_node("node-2")
    document = house.documents()["one:one"]
    house.report(document, node="node-2", status="failed")
    assert house.master.instance("one").status == "requested"


@pytest.mark.parametrize("identifier", ["inst-999", "inst-0", "nonsense", "inst-99999999999999999999"])
def test_report_on_an_instance_that_is_not_there_is_passed_over(house: Any, identifier: str) -> None:
    house.ready()
    house.request()
    document = house.documents()["one:one"]
    house.report(type(document)(**{**vars(document), "instance": identifier}), status="failed")
    assert house.master.instance("one").status == "requested"


def test_destroyed_is_not_believed_of_an_instance_that_is_wanted(house: Any) -> None:
    house.ready()
    house.request()
    house.report(house.documents()["one:one"], status="destroyed")
    assert house.documents()["one:one"].state == "started"


def test_generation_of_the_future_is_overtaken(house: Any) -> None:
    house.ready()
    house.request()
    house.report(house.documents()["one:one"], generation=41)
    assert house.documents()["one:one"].generation == 42


def test_software_is_followed_until_it_is_removed(house: Any) -> None:
    sha256 = house.ready()

    def tell(status: SoftwareStatus, error: str = "") -> None:
        house.master.observe("node-1", ObservedState(software=(ObservedSoftware(sha256, status, error),)))

    tell(SoftwareStatus.FAILED, "no space")
    assert [(item.status, item.error) for item in house.master.read(_supplies)] == [("failed", "no space")]
    house.supply(state="removed")
    tell(SoftwareStatus.REMOVED)
    assert house.master.read(_supplies) == []
    assert house.master.desired("node-1", -1).supplies == ()


def _supplies(connection: Any) -> Any:
    from allotment_master.db import supplies

    return supplies.every(connection, ("", ""), 10)


def test_reports_and_requests_that_meet_never_wait_for_each_other(house: Any) -> None:
    """On PostgreSQL: one that holds its node's row must not wait for one that waits for that row."""
    sha256 = house.ready()
    house.request()
    errors: list[str] = []
    event.listen(
        house.master.database.engine, "handle_error", lambda found: errors.append(str(found.sqlalchemy_exception))
    )

    def report(number: int) -> None:
        software = ObservedSoftware(sha256, SoftwareStatus.FAILED, f"error {number}")
        house.master.observe("node-1", ObservedState((software,)))

    with ThreadPoolExecutor(4) as pool:
        for number in range(40):
            pool.submit(report, number)
            pool.submit(house.request, parameters={"greeting": f"hello {number}"})
    assert errors == []
    assert house.documents()["one:one"].generation > 1
