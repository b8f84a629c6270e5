# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from allotment.messages.instance import ChildAnswer, InstanceState

PROFILE = """\
    [buildout]
    parts = publish
    [slap-configuration]
    recipe = allotment.recipes:slapconfiguration
    [children]
    recipe = allotment.recipes:replicate
    name = site
    count = ${slap-configuration:configuration.replicas}
    release = ${slap-configuration:manifest}
    config-content = a page
    return = url
    [publish]
    recipe = allotment.recipes:publish
    urls = ${children:connection-url}
    """


def answer(url: str) -> ChildAnswer:
    return ChildAnswer(InstanceState.STARTED, {"url": url} if url else {})


def test_it_requests_as_many_as_asked_and_waits_for_all(partition: Any) -> None:
    partition.parameters = {"replicas": 3}
    partition.answers = {"site-1": answer("http://127.0.0.1/1"), "site-2": answer("")}
    result = partition.run(PROFILE)
    assert result.outcome == "waiting", result.error
    assert result.waiting[0] == "children: child 'site-2' has not published 'url' yet"
    assert [item.name for item in partition.requests.requests] == ["site-1", "site-2", "site-3"]
    assert all(item.parameters == {"content": "a page"} for item in partition.requests.requests)
    assert all(item.release == "f" * 64 for item in partition.requests.requests)


def test_what_they_publish_is_listed_in_their_order(partition: Any) -> None:
    partition.parameters = {"replicas": 11}
    partition.answers = {f"site-{number}": answer(f"http://127.0.0.1/{number}") for number in range(1, 12)}
    assert partition.run(PROFILE).outcome == "done"
    urls = partition.published.values["urls"].split()
    assert urls == [f"http://127.0.0.1/{number}" for number in range(1, 12)]


def test_with_fewer_the_last_ones_go(partition: Any) -> None:
    partition.answers = {f"site-{number}": answer(f"http://127.0.0.1/{number}") for number in range(1, 4)}
    for count in (3, 1, 0):
        partition.parameters = {"replicas": count}
        assert partition.run(PROFILE).outcome == "done"
        assert len(partition.requests.requests) == count
        assert partition.requests.complete


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (-1, "[children] count: -1 is not from 0 to 1000. Write how many children you want."),
        (1001, "[children] count: 1001 is not from 0 to 1000."),
        ("many", "[children] count: 'many' is not"),
    ],
)
def test_a_count_that_is_none_is_refused(partition: Any, count: object, message: str) -> None:
    partition.parameters = {"replicas": count}
    result = partition.run(PROFILE)
    assert result.outcome == "failed"
    assert result.error.startswith(message), result.error


def test_what_is_no_text_is_listed_as_json(partition: Any) -> None:
    partition.parameters = {"replicas": 1}
    partition.answers = {"site-1": ChildAnswer(InstanceState.STARTED, {"url": {"a": [True, None]}})}
    assert partition.run(PROFILE).error == ""
    assert partition.published.values["urls"] == '{"a": [true, null]}'


@pytest.mark.parametrize("option", ["name", "release"])
def test_an_empty_option_is_named(partition: Any, option: str) -> None:
    partition.parameters = {"replicas": 1}
    lines = [f"    {option} =" if line.startswith(f"    {option} =") else line for line in PROFILE.splitlines()]
    assert partition.run("\n".join(lines)).error == f"[children] {option}: is empty. Write it."


def test_two_sections_can_not_request_the_same_names(partition: Any) -> None:
    partition.parameters = {"replicas": 1}
    profile = (
        PROFILE.replace("parts = publish", "parts = publish again")
        + "[again]\n    <= children\n    config-content = b\n"
    )
    result = partition.run(profile)
    assert "[again] requests the child 'site-1', which another section requests already" in result.error
