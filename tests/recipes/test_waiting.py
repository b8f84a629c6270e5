# SPDX-License-Identifier: Apache-2.0
"""The rules of the local-file contract: waiting is no error, a partial run takes nothing away."""

import os
from typing import Any

import pytest

from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret

PROFILE = """\
    [buildout]
    parts = page other publish

    [slap]
    recipe = allotment.recipes:slapconfiguration

    [child]
    recipe = allotment.recipes:request
    name = backend
    release = ${slap:manifest}
    software-type = small
    config-size = 3
    parameters = {"port": 8080, "deep": {"list": [1, 2]}}
    sla-node = node-7
    return = url password

    [plain]
    url = ${child:connection-url}

    [page]
    recipe = allotment.recipes:template.jinja2
    inline = ${plain:url}
    output = etc/page

    [other]
    recipe = allotment.recipes:template.jinja2
    inline = here at once
    output = etc/other

    [publish]
    recipe = allotment.recipes:publish
    url = ${child:connection-url}
    """
REASON = "child 'backend' has not published 'url', 'password' yet"


def answer(**published: Any) -> dict[str, ChildAnswer]:
    return {"backend": ChildAnswer(InstanceState.STARTED, published)}


def test_a_missing_answer_makes_parts_wait_and_the_others_are_processed(partition: Any) -> None:
    result = partition.run(PROFILE)
    assert (result.outcome, result.error) == ("waiting", "")
    assert result.waiting == (f"child: {REASON}", f"page: {REASON}", f"publish: {REASON}")
    assert list(partition.files()) == [".installed.cfg", "etc/other"] or set(partition.files()) == {
        ".installed.cfg",
        "etc/other",
    }
    assert partition.requests.complete is False
    assert partition.requests.waiting == result.waiting


def test_the_request_is_told_while_its_part_waits(partition: Any) -> None:
    partition.run(PROFILE)
    (child,) = partition.requests.requests
    assert child.name == "backend"
    assert child.release == "f" * 64
    assert child.software_type == "small"
    assert dict(child.parameters) == {"size": "3", "port": 8080, "deep": {"list": [1, 2]}}
    assert dict(child.sla) == {"node": "node-7"}
    assert child.state is InstanceState.STARTED


def test_an_answer_that_lacks_a_key_still_waits(partition: Any) -> None:
    partition.answers = answer(url="http://b/")
    result = partition.run(PROFILE)
    assert result.waiting[0] == "child: child 'backend' has not published 'password' yet"


def test_the_whole_answer_completes_the_run(partition: Any) -> None:
    partition.run(PROFILE)
    partition.answers = answer(url="http://b/", password=Secret("sesame-street"))
    result = partition.run()
    assert (result.outcome, result.error, result.waiting) == ("done", "", ())
    assert partition.text("etc/page") == "http://b/"
    assert partition.requests.complete is True
    assert dict(partition.published.values) == {"url": "http://b/"}


def test_an_answer_that_goes_away_takes_nothing_away(partition: Any) -> None:
    partition.answers = answer(url="http://b/", password="x")
    partition.run(PROFILE)
    partition.answers = {}
    result = partition.run()
    assert result.outcome == "waiting"
    assert partition.text("etc/page") == "http://b/", "the waiting part keeps its files"
    assert dict(partition.published.values) == {"url": "http://b/"}, "and what it published"


def test_only_a_complete_run_uninstalls(partition: Any) -> None:
    partition.run(
        "[buildout]\nparts = old\n[old]\nrecipe = allotment.recipes:template.jinja2\ninline = x\noutput = etc/old\n"
    )
    partition.run(PROFILE)
    assert partition.text("etc/old") == "x", "the run was partial"
    partition.answers = answer(url="http://b/", password="x")
    partition.run()
    assert "etc/old" not in partition.files()


def test_when_every_part_waits_nothing_is_written_and_nothing_removed(partition: Any) -> None:
    partition.run(
        "[buildout]\nparts = old\n[old]\nrecipe = allotment.recipes:template.jinja2\ninline = x\noutput = etc/old\n"
    )
    result = partition.run(
        """\
        [buildout]
        parts = child
        [child]
        recipe = allotment.recipes:request
        name = backend
        release = shop
        return = url
        """
    )
    assert result.outcome == "waiting"
    assert partition.text("etc/old") == "x"


def test_a_child_without_return_never_waits_and_follows_our_state(partition: Any) -> None:
    partition.state = InstanceState.STOPPED
    profile = "[buildout]\nparts = c\n[c]\nrecipe = allotment.recipes:request\nname = b\nrelease = shop\n"
    assert partition.run(profile).outcome == "done"
    assert partition.requests.requests[0].state is InstanceState.STOPPED


def test_two_sections_that_request_one_name_are_an_error(partition: Any) -> None:
    profile = "[buildout]\nparts = c d\n[c]\nrecipe = allotment.recipes:request\nname = b\nrelease = shop\n[d]\n<= c\n"
    assert partition.run(profile).error == (
        "[d] requests the child 'b', which another section requests already. Give each child a name of its own."
    )


def test_a_release_that_would_wait_is_refused(release: Any) -> None:
    result = release.build("[buildout]\nparts = c\n[c]\nrecipe = allotment.recipes:request\nname = b\nrelease = shop\n")
    assert result.error == (
        f"[c] needs an instance, but {release.folder}/.allotment/instance.json does not exist. "
        "Use this recipe in an instance profile only."
    )


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 1, "values": 5}', b"\xff", None])
def test_what_was_published_and_is_damaged_keeps_no_later_run_from_waiting(
    partition: Any, damage: bytes | None
) -> None:
    partition.run(PROFILE)
    file = partition.folder / ".allotment" / "published.json"
    file.unlink()
    if damage is None:
        os.mkfifo(file)
    else:
        file.write_bytes(damage)
    assert partition.run().outcome == "waiting"
    assert partition.published.values == {}
    assert f"{file} is damaged" in partition.log.read_text()
