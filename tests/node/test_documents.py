# SPDX-License-Identifier: Apache-2.0
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.messages.desired_state import NodeDesiredState, Supply, SupplyState
from allotment.messages.instance import InstanceState
from allotment.secret import Secret
from allotment_node.documents import Changes, Documents

Make = Callable[..., Any]
PARTS = ("part0", "part1")


@pytest.fixture
def documents(scratch: Path) -> Documents:
    return Documents(scratch / "desired", PARTS)


def test_documents_are_stored_as_they_came(documents: Documents, scratch: Path, document: Make) -> None:
    wanted = document(parameters={"password": Secret("x"), "n": 1.5})
    assert documents.apply(NodeDesiredState(1, (), (wanted,))).partitions == ("part0",)
    path = scratch / "desired" / "part0.json"
    assert path.read_bytes() == dumps(wanted)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Documents(scratch / "desired", PARTS).get("part0") == wanted


def test_an_older_generation_never_replaces_a_newer_one(
    documents: Documents, scratch: Path, document: Make, caplog: pytest.LogCaptureFixture
) -> None:
    newer = document(generation=7)
    documents.apply(NodeDesiredState(1, (), (newer,)))
    for _ in range(2):
        older = document(generation=6, issuer="another", parameters={"n": 1})
        assert documents.apply(NodeDesiredState(2, (), (older,))).partitions == ()
    assert documents.get("part0") == newer
    assert Documents(scratch / "desired", PARTS).get("part0") == newer
    assert caplog.messages == ["part0: generation 6 of another is ignored: generation 7 of master is stored"]


def test_a_partition_that_an_answer_does_not_name_stays(documents: Documents, document: Make) -> None:
    documents.apply(NodeDesiredState(1, (), (document(),)))
    assert documents.apply(NodeDesiredState(2)).partitions == ()
    assert documents.get("part0") == document()


@pytest.mark.parametrize("name", ["part2", "../part0", "supplies", ""])
def test_a_partition_that_this_node_has_not_is_ignored(
    documents: Documents, scratch: Path, document: Make, name: str
) -> None:
    assert documents.apply(NodeDesiredState(1, (), (document(partition=name),))).partitions == ()
    assert not list(scratch.rglob("*.json"))


def test_a_buried_document_keeps_its_generation_and_nothing_private(
    documents: Documents, scratch: Path, document: Make
) -> None:
    gone = document(generation=5, state=InstanceState.DESTROYED, parameters={"password": Secret("planted")})
    documents.apply(NodeDesiredState(1, (), (gone,)))
    documents.bury(gone)
    assert b"planted" not in (scratch / "desired" / "part0.json").read_bytes()
    assert documents.apply(NodeDesiredState(2, (), (gone, document(generation=4)))).partitions == ()
    assert documents.apply(NodeDesiredState(3, (), (document(generation=6),))).partitions == ("part0",)


def test_a_supply_that_is_no_longer_listed_is_to_be_removed(documents: Documents, scratch: Path) -> None:
    assert documents.apply(NodeDesiredState(1, (Supply("a" * 64),))).supplies == ("a" * 64,)
    assert documents.apply(NodeDesiredState(2, (Supply("a" * 64),))).supplies == ()
    assert documents.apply(NodeDesiredState(3)).supplies == ("a" * 64,)
    kept = Documents(scratch / "desired", PARTS)
    assert kept.supplies() == (Supply("a" * 64, SupplyState.REMOVED),)
    kept.forget_release("a" * 64)
    assert kept.supplies() == ()


def test_a_damaged_document_is_put_aside_and_asked_for_again(
    documents: Documents, scratch: Path, document: Make, caplog: pytest.LogCaptureFixture
) -> None:
    documents.apply(NodeDesiredState(1, (), (document(),)))
    path = scratch / "desired" / "part0.json"
    path.write_bytes(path.read_bytes()[:20])
    again = Documents(scratch / "desired", PARTS)
    assert again.get("part0") is None
    assert "It is put aside and asked for again" in caplog.text
    assert again.apply(NodeDesiredState(1, (), (document(),))).partitions == ("part0",)


def test_what_could_not_be_stored_is_new_at_the_next_poll(documents: Documents, scratch: Path, document: Make) -> None:
    full = scratch / "desired" / "part1.json"
    full.mkdir()  # as a full disk would: part0 is stored, part1 is not
    wanted = NodeDesiredState(1, (Supply("a" * 64),), (document(), document(partition="part1")))
    with pytest.raises(OSError):
        documents.apply(wanted)
    assert documents.get("part1") is None
    full.rmdir()
    assert documents.apply(wanted) == Changes(("part0", "part1"), ("a" * 64,))
    assert documents.apply(wanted) == Changes()
    supplies = scratch / "desired" / "supplies.json"
    supplies.unlink()
    supplies.mkdir()
    with pytest.raises(OSError):
        documents.apply(NodeDesiredState(2, (Supply("b" * 64),)))
    supplies.rmdir()
    assert set(documents.apply(NodeDesiredState(2, (Supply("b" * 64),))).supplies) == {"a" * 64, "b" * 64}


@pytest.mark.parametrize("name", ["../../escaped", "A" * 64, "", "a" * 63])
def test_a_manifest_that_is_no_sha256_is_ignored(
    documents: Documents, scratch: Path, document: Make, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    desired = NodeDesiredState(1, (Supply(name),), (dataclasses.replace(document(), manifest=name),))
    assert documents.apply(desired) == Changes()
    assert documents.supplies() == documents.partitions() == ()
    assert not list(scratch.rglob("*.json"))
    assert caplog.messages == [f"part0: generation 1 of master is ignored: its manifest {name!r} is not a sha256"]
