# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from allotment.messages.promise_states import PromiseChange, PromiseStates
from allotment_node.commands.promise_feeds import command
from allotment_node.monitor.feeds import opml, rss

CHANGE = PromiseChange(
    "part0", "hello", "page", 1_763_899_150.25, "failed", "passed", "status 502, expected 200\nat once"
)


def _items(data: bytes) -> list[dict[str, str]]:
    root = ElementTree.fromstring(data)
    assert (root.tag, root.get("version"), [item.tag for item in root]) == ("rss", "2.0", ["channel"])
    return [{child.tag: child.text or "" for child in item} for item in root.iter("item")]


def test_feed_has_a_title_and_its_items_what_happened(states: PromiseStates) -> None:
    data = rss(
        replace(states, changes=(CHANGE, replace(CHANGE, status="passed", before="failed"))), "https://m.example/"
    )
    channel = ElementTree.fromstring(data)[0]
    assert [channel.findtext(name) for name in ("title", "link")] == ["Promises of node-1", "https://m.example/"]
    assert channel.findtext("description")
    first, second = _items(data)
    assert first["title"] == "part0/page is broken: status 502, expected 200"
    assert first["description"] == "status 502, expected 200\nat once\n\nInstance hello, passed before."
    assert parsedate_to_datetime(first["pubDate"]).timestamp() == int(CHANGE.time)
    assert second["title"].startswith("part0/page is kept again")


def test_item_keeps_its_id_and_no_two_share_one(states: PromiseStates) -> None:
    changes = tuple(replace(CHANGE, time=CHANGE.time + number / 10) for number in range(20))
    once = [item["guid"] for item in _items(rss(replace(states, changes=changes), ""))]
    again = [item["guid"] for item in _items(rss(replace(states, changes=changes[5:]), "https://other.example"))]
    assert once[5:] == again
    assert len(set(once)) == 20
    assert b'isPermaLink="false"' in rss(replace(states, changes=changes), "")


def test_hostile_texts_are_texts(states: PromiseStates, hostile: str) -> None:
    change = PromiseChange(hostile, hostile, hostile, float("1e30"), hostile, hostile, hostile)
    (item,) = _items(rss(replace(states, node=hostile, changes=(change,)), hostile))
    assert item["description"].startswith('a\\b"c\nd</title><script>&#0;\N{REPLACEMENT CHARACTER}')
    assert len(item["title"]) == 150


@given(st.lists(st.tuples(st.text(st.characters()), st.text(st.characters())), max_size=3), st.text(st.characters()))
def test_any_text_makes_a_well_formed_list_of_feeds(feeds: list[tuple[str, str]], title: str) -> None:
    root = ElementTree.fromstring(opml(title, feeds))
    assert len(list(root.iter("outline"))) == len(feeds)


def test_list_of_feeds_is_what_readers_import() -> None:
    data = opml("Nodes", [("node-1", "https://n1.example/changes.rss?a=1&b=2")])
    root = ElementTree.fromstring(data)
    assert (root.tag, root.get("version"), root.findtext("head/title")) == ("opml", "2.0", "Nodes")
    (outline,) = root.iter("outline")
    assert outline.attrib == {
        "type": "rss",
        "text": "node-1",
        "title": "node-1",
        "xmlUrl": "https://n1.example/changes.rss?a=1&b=2",
    }


def test_command_writes_the_list_of_feeds(tmp_path: Path) -> None:
    words = ["node-1=https://n1.example/changes.rss", "node 2=http://127.0.0.1:8000/x?a=b"]
    printed = CliRunner().invoke(command, words).output
    assert [item.get("xmlUrl") for item in ElementTree.fromstring(printed).iter("outline")] == [
        "https://n1.example/changes.rss",
        "http://127.0.0.1:8000/x?a=b",
    ]
    done = CliRunner().invoke(command, [*words, "--title", "Ours", "--output", str(tmp_path / "nodes.opml")])
    assert (done.exit_code, done.output) == (0, "")
    assert ElementTree.parse(tmp_path / "nodes.opml").findtext("head/title") == "Ours"


@pytest.mark.parametrize(
    "text", ["https://n1.example/x", "=https://n1.example/", "a=ftp://n1.example/", "a=http://[", "a"]
)
def test_command_refuses_what_is_no_feed(text: str) -> None:
    error = CliRunner().invoke(command, [text]).exception
    assert str(error) == f"'{text}' is no feed. Write it like node-1=https://node-1.example/changes.rss."
