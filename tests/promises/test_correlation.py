# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises import Layer
from allotment_promises.correlation import SLACK, Broken, causes


def broken(
    name: str, layer: Layer = Layer.APPLICATION, target: str = "", since: float = 1000.0, after: str = ""
) -> Broken:
    return Broken("part0", name, since, layer, target, tuple(after.split()))


def shown(*items: Broken) -> list[tuple[str, list[str]]]:
    return [(cause.root.name, [item.name for item in cause.explained]) for cause in causes(items)]


def test_nothing_broken_has_no_cause() -> None:
    assert causes([]) == []


def test_network_comes_before_name_before_port_before_url() -> None:
    url = broken("url", target="db.example:443")
    port = broken("port", Layer.PORT, "db.example:443")
    name = broken("name", Layer.NAME, "db.example")
    network = broken("network", Layer.NETWORK, "db.example")
    assert shown(url, port, name, network) == [("network", ["name", "port", "url"])]
    assert shown(url, name) == [("name", ["url"])]


def test_what_looks_at_something_else_is_a_root_of_its_own_and_comes_later() -> None:
    other = broken("other", Layer.PORT, "127.0.0.1:80")
    items = [broken("url", target="127.0.0.1:81"), broken("port", Layer.PORT, "127.0.0.1:81"), other]
    assert shown(*items) == [("port", ["url"]), ("other", [])]


def test_what_a_promise_names_itself_wins() -> None:
    items = [broken("queue", after="database"), broken("database"), broken("disk", Layer.HOST, "/", since=5000.0)]
    assert shown(*items) == [("database", ["queue"]), ("disk", [])]


def test_a_name_means_a_promise_of_the_same_partition() -> None:
    elsewhere = Broken("part1", "database", 1000.0)
    assert shown(broken("queue", after="database"), elsewhere) == [("queue", []), ("database", [])]


def test_a_machine_without_space_explains_what_broke_at_that_time_or_later_everywhere() -> None:
    disk = broken("disk", Layer.HOST, "/")
    items = [disk, Broken("part7", "url", 1000.0), Broken("part8", "page", 1000.0 - SLACK - 1)]
    assert shown(*items) == [("disk", ["url"]), ("page", [])]


def test_a_service_that_is_down_explains_its_partition_only() -> None:
    service = broken("service nginx", Layer.PROCESS)
    items = [service, broken("url", target="127.0.0.1:80"), Broken("part1", "url", 1000.0)]
    assert shown(*items) == [("service nginx", ["url"]), ("url", [])]


def test_promises_that_name_each_other_have_one_root() -> None:
    assert shown(broken("b", after="a"), broken("a", after="b", since=900.0)) == [("a", ["b"])]
    assert shown(broken("c", after="b"), broken("b", after="a"), broken("a", after="b")) == [("a", ["b", "c"])]


@given(
    st.lists(
        st.builds(
            Broken,
            st.sampled_from(["part0", "part1"]),
            st.sampled_from("abcdef"),
            st.floats(0, 500),
            st.sampled_from(Layer),
            st.sampled_from(["", "h", "h:1", "h:2"]),
            st.lists(st.sampled_from("abcdef"), max_size=2).map(tuple),
        ),
        unique_by=lambda item: (item.partition, item.name),
    )
)
def test_each_broken_promise_is_told_exactly_once_whatever_the_graph(items: list[Broken]) -> None:
    told = [item for cause in causes(items) for item in (cause.root, *cause.explained)]
    assert sorted(told, key=repr) == sorted(items, key=repr)
