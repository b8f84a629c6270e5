# SPDX-License-Identifier: Apache-2.0
"""What a test node gives to the farm's binary cache, and takes from it; tests/e2e has the farm around it."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import decode
from allotment.messages.manifest import ReleaseManifest
from allotment.secret import Secret
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
from allotment_recipes.shared_store import Store, remove
from allotment_recipes.signing import load_or_create_key
from allotment_recipes.store import padded_root, part_path, platform_name
from allotment_testfarm.testnode.pushing import push_proved
from allotment_testfarm.testnode.sharing import Sharing
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import CacheOffer

TOKEN = "wire-token-0123456789"
Build = Callable[..., Path]
Within = Callable[[float, Callable[[], Any]], Any]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a test node, with a short path."""
    found = tmp_path_factory.mktemp("n")
    yield found
    for root in found.glob("store/_*"):
        remove(root)


@pytest.fixture
def build(folder: Path) -> Build:
    """Build a part of one file into the test node's store and return where it is."""

    def make(name: str, **note: Any) -> Path:
        root, digest = padded_root(folder / "store"), hashlib.sha256(name.encode()).hexdigest()
        store, location = Store(root), part_path(root, name, "1", digest)
        with store.building(location, "a test", lambda _: None) as place:
            assert place is not None
            (location / "file").write_text(f"{name} in {location}")
            store.note(location, {"part": name, "version": "1", "hash": digest, "seconds": 0.1, "bytes": 9, **note})
        return location

    return make


@pytest.fixture
def cache(tmp_path: Path) -> BinaryCache:
    return open_cache(str(tmp_path / "cache"))


@pytest.fixture
def sharing(folder: Path, engine: Any, tmp_path: Path) -> Iterator[Sharing]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with WireClient(engine.url, Secret(TOKEN)) as wire:
        found = Sharing(folder, wire, token)
        found.start()
        yield found
        found.stop()


def manifest_of(*names: str) -> ReleaseManifest:
    """Return a manifest that names parts."""
    parts = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    fields = {"format": 1, "name": "greet", "profile": "software.cfg", "closure": {"sha256": "0" * 64, "size": 1}}
    return decode(ReleaseManifest, {**fields, "software_types": {}, "parts": {platform_name(): parts}})


def public(folder: Path) -> str:
    return (folder / "cache.pub").read_text().strip()


def waiting(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "unpushed.json").read_bytes())
    return found


def test_parts_of_a_green_job_are_pushed_and_signed(
    sharing: Sharing, folder: Path, build: Build, cache: BinaryCache, tmp_path: Path, engine: Any, within: Within
) -> None:
    one, other = build("one"), build("other")
    engine.offer = CacheOffer(str(tmp_path / "cache"), (public(folder),))
    sharing.give(manifest_of("one"))
    assert within(60, lambda: waiting(folder) == [] and not (folder / "pushing").exists())
    assert cache.names("", 10) == [one.name]  # what the job has not proved stays: other
    assert other.exists()
    signed = entry.read(cache.entries([one.name])[one.name], one.name)
    entry.check_signature(signed, [load_or_create_key(folder / "cache.key").public], "a test")


def test_a_push_that_fails_is_said_and_tried_after_the_next_green_job(
    sharing: Sharing,
    folder: Path,
    build: Build,
    cache: BinaryCache,
    tmp_path: Path,
    engine: Any,
    within: Within,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other = build("one"), build("other")
    engine.offer = CacheOffer("http://127.0.0.1:9", (public(folder),))
    sharing.give(manifest_of("one"))
    assert within(60, lambda: "were not pushed: this is tried again after the next green job" in caplog.text)
    assert waiting(folder) == [one.name]
    engine.offer = CacheOffer(str(tmp_path / "cache"), (public(folder),))
    sharing.give(manifest_of("other"))
    assert within(60, lambda: waiting(folder) == [])
    assert cache.names("", 10) == sorted([one.name, other.name])


def test_what_an_earlier_process_could_not_push_is_pushed_at_the_start(
    folder: Path, build: Build, cache: BinaryCache, tmp_path: Path, engine: Any, within: Within
) -> None:
    one = build("one")
    (folder / "unpushed.json").write_text(json.dumps([one.name, "gone-1-00000000000000000000000000000000"]))
    (tmp_path / "token").write_text(TOKEN)
    engine.offer = CacheOffer(str(tmp_path / "cache"), (load_or_create_key(folder / "cache.key").public,))
    with WireClient(engine.url, Secret(TOKEN)) as wire:
        sharing = Sharing(folder, wire, tmp_path / "token")
        sharing.start()
        assert within(60, lambda: waiting(folder) == [])
        sharing.stop()
    assert cache.names("", 10) == [one.name]


def test_a_test_node_that_is_no_builder_takes_parts_and_gives_none(
    sharing: Sharing, folder: Path, build: Build, tmp_path: Path, engine: Any, within: Within, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    one = build("one")
    engine.offer = CacheOffer(str(tmp_path / "cache"), ("ed25519:another",))
    assert sharing.caches() == ({"url": str(tmp_path / "cache"), "keys": ["ed25519:another"]},)
    sharing.give(manifest_of("one"))
    said = f"gives no parts to the farm's binary cache: its key {public(folder)} is not in the farm's builders.pub"
    assert within(60, lambda: said in caplog.text)
    assert waiting(folder) == [one.name]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("offer", [None, CacheOffer(), CacheOffer("http://127.0.0.1:9", ())])
def test_nothing_is_taken_without_a_cache_or_a_key(sharing: Sharing, engine: Any, offer: CacheOffer | None) -> None:
    engine.offer = offer
    assert sharing.caches() == ()


def test_a_cache_that_the_farm_can_not_tell_of_is_no_error_of_a_job(
    sharing: Sharing, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine.refuse_all = True
    assert sharing.caches() == ()
    assert "the farm's binary cache is not used: the farm at" in caplog.text


def test_a_part_that_came_from_a_cache_or_was_changed_is_not_signed(
    folder: Path, build: Build, cache: BinaryCache, caplog: pytest.LogCaptureFixture
) -> None:
    fetched, changed, whole = build("fetched", fetched={"url": "u"}), build("changed"), build("whole")
    (changed / "file").chmod(0o644)
    (changed / "file").write_text(f"poison in {changed}")
    (changed / "file").chmod(0o444)
    done: list[str] = []
    parts = [part.name for part in (fetched, changed, whole)]
    key = load_or_create_key(folder / "cache.key")
    assert push_proved(cache, padded_root(folder / "store"), parts, key, done.append)
    assert cache.names("", 10) == [whole.name]
    assert sorted(done) == sorted(parts)
    assert f"{changed.name} is damaged and not pushed: file" in caplog.text
