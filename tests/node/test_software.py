# SPDX-License-Identifier: Apache-2.0
import ctypes
import dataclasses
import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.messages.desired_state import SoftwareStatus, Supply, SupplyState
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import ReleaseManifest, Signature, SignedManifest
from allotment_recipes.signing import SigningKey, load_or_create_key

Make = Callable[..., Any]


def installed(agent: Any) -> list[str]:
    return sorted(path.name for path in agent._folder.software.iterdir())


def supply(agent: Any, master: Any, sha256: str, development: bool = False) -> Any:
    master.set(supplies=(Supply(sha256, development=development),))
    assert agent.run_once(("software",), 30.0)
    return master.last_software(sha256)


def test_a_signed_release_is_installed_once(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest
) -> None:
    assert supply(make_agent(), master, manifest.sha256).status is SoftwareStatus.AVAILABLE
    assert supply(make_agent(), master, manifest.sha256).status is SoftwareStatus.AVAILABLE
    agent = make_agent()
    assert installed(agent) == [f"hello-{manifest.sha256[:12]}"]
    assert engines.builds == [manifest.sha256]


def test_a_release_without_its_marker_is_installed_anew(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest
) -> None:
    agent = make_agent()
    supply(agent, master, manifest.sha256)
    folder = agent.software.installed(manifest.sha256)[0]
    (folder / ".allotment-installed.json").unlink()
    (folder / "half").write_text("left by a killed build")
    supply(make_agent(), master, manifest.sha256)
    assert engines.builds == [manifest.sha256] * 2
    assert not (folder / "half").exists()


def test_a_release_whose_part_in_the_store_is_gone_is_installed_anew(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, signing_key: SigningKey
) -> None:
    of_store = dataclasses.replace(manifest, parts={"linux": {"zlib": "a" * 64, "not-in-the-store": "b" * 64}})
    master.manifests[of_store.sha256] = signing_key.sign(of_store)
    part = make_agent()._folder.store / "___" / f"zlib-1.3.1-{'a' * 32}"
    part.mkdir(parents=True)
    for _ in range(2):
        assert supply(make_agent(), master, of_store.sha256).status is SoftwareStatus.AVAILABLE
    assert engines.builds == [of_store.sha256]
    part.rmdir()
    assert supply(make_agent(), master, of_store.sha256).status is SoftwareStatus.AVAILABLE
    assert engines.builds == [of_store.sha256] * 2


def test_a_release_is_on_the_disk_before_it_counts_as_installed(
    make_agent: Make, master: Any, manifest: ReleaseManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent()
    folder = agent._folder.software / f"hello-{manifest.sha256[:12]}"
    seen: list[list[str]] = []

    def names() -> list[str]:
        return [path.name for path in folder.iterdir()]

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syncfs=lambda _: seen.append(names()) or 0))
    assert supply(agent, master, manifest.sha256).status is SoftwareStatus.AVAILABLE
    assert ".allotment-installed.json" in names()
    assert len(seen) == 1 and ".allotment-installed.json" not in seen[0]


def test_a_disk_that_is_full_is_told_and_the_release_is_tried_again(
    make_agent: Make, master: Any, manifest: ReleaseManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/blobs")

    agent = make_agent()
    with monkeypatch.context() as patch:
        patch.setattr(master, "get_blob", full)
        seen = supply(agent, master, manifest.sha256)
    assert seen.status is SoftwareStatus.FAILED
    assert seen.error == "[Errno 28] No space left on device: '/srv/blobs'"
    assert supply(make_agent(), master, manifest.sha256).status is SoftwareStatus.AVAILABLE


def test_a_failed_build_is_reported_with_the_end_of_its_log(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest
) -> None:
    engines.build_error = "[zlib] make failed"
    seen = supply(make_agent(), master, manifest.sha256)
    assert seen.status is SoftwareStatus.FAILED
    assert seen.error == (
        f"hello can't be installed: [zlib] make failed\nsoftware-hello-{manifest.sha256[:12]}.log ends with:\n"
        "line one\nthe compiler says no."
    )
    engines.build_error = ""
    assert supply(make_agent(), master, manifest.sha256).status is SoftwareStatus.AVAILABLE


@pytest.mark.parametrize(("development", "allowed"), [(False, True), (True, False), (False, False)])
def test_an_unsigned_manifest_is_refused(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, development: bool, allowed: bool
) -> None:
    master.manifests[manifest.sha256] = SignedManifest(manifest)
    seen = supply(make_agent(allow_development=allowed), master, manifest.sha256, development)
    assert seen.status is SoftwareStatus.FAILED
    assert seen.error == (
        f"hello ({manifest.sha256[:12]}) is not signed. Supply one that a farm has signed, or as development "
        "to a node with allow-development = true."
    )
    assert engines.builds == []


def test_an_unsigned_manifest_is_accepted_where_development_is_wanted_and_allowed(
    make_agent: Make, master: Any, manifest: ReleaseManifest
) -> None:
    master.manifests[manifest.sha256] = SignedManifest(manifest)
    seen = supply(make_agent(allow_development=True), master, manifest.sha256, development=True)
    assert seen.status is SoftwareStatus.AVAILABLE


def test_a_wrong_signature_is_refused(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, signing_key: SigningKey
) -> None:
    other = signing_key.sign(dataclasses.replace(manifest, name="other")).signatures
    master.manifests[manifest.sha256] = SignedManifest(manifest, other)
    seen = supply(make_agent(allow_development=True), master, manifest.sha256, development=True)
    assert seen.status is SoftwareStatus.FAILED
    assert "wrong signature" in seen.error
    assert engines.builds == []


def test_a_stranger_s_signature_is_refused(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, scratch: Path
) -> None:
    master.manifests[manifest.sha256] = load_or_create_key(scratch / "stranger.key").sign(manifest)
    seen = supply(make_agent(), master, manifest.sha256)
    assert seen.status is SoftwareStatus.FAILED
    assert "does not trust" in seen.error
    assert engines.builds == []


def test_another_manifest_than_asked_for_is_refused(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, signing_key: SigningKey
) -> None:
    other = dataclasses.replace(manifest, licences=("MIT",))
    master.manifests[manifest.sha256] = signing_key.sign(other)
    seen = supply(make_agent(), master, manifest.sha256)
    assert seen.error == (
        f"the master sent manifest {other.sha256[:12]} (hello) for {manifest.sha256[:12]}. "
        "Look for who changed it at the master."
    )
    assert engines.builds == []


def test_a_closure_of_another_size_is_refused(
    make_agent: Make, master: Any, engines: Any, manifest: ReleaseManifest, signing_key: SigningKey
) -> None:
    wrong = dataclasses.replace(manifest, closure=dataclasses.replace(manifest.closure, size=3))
    master.manifests[wrong.sha256] = signing_key.sign(wrong)
    seen = supply(make_agent(), master, wrong.sha256)
    assert seen.error == "the closure of hello is not of the size in its manifest. Release it again."


def test_a_closure_that_was_damaged_on_disk_is_fetched_again(
    make_agent: Make, master: Any, manifest: ReleaseManifest
) -> None:
    agent = make_agent()
    master.get_blob(manifest.closure.sha256, agent.software._blobs)
    path = agent.software._blobs.path(manifest.closure.sha256)
    path.write_bytes(b"?" * manifest.closure.size)
    assert supply(agent, master, manifest.sha256).status is SoftwareStatus.AVAILABLE
    assert agent.software._blobs.read(manifest.closure.sha256) == master.blobs[0]


@pytest.mark.parametrize("name", ["../../etc", "a b", ""])
def test_a_name_that_is_a_path_is_refused(
    make_agent: Make, master: Any, manifest: ReleaseManifest, signing_key: SigningKey, name: str
) -> None:
    wrong = dataclasses.replace(manifest, name=name)
    master.manifests[wrong.sha256] = signing_key.sign(wrong)
    seen = supply(make_agent(), master, wrong.sha256)
    assert seen.error == f"{name!r} is not a release's name. Use a-z, 0-9, '.', '_' and '-'."


def test_a_removed_release_goes_unless_a_partition_uses_it(
    make_agent: Make, master: Any, manifest: ReleaseManifest, document: Make
) -> None:
    agent = make_agent()
    removed = Supply(manifest.sha256, SupplyState.REMOVED)
    master.set(document(), supplies=(Supply(manifest.sha256),))
    assert agent.run_once(("software", "partition"), 30.0)
    agent = make_agent()
    master.set(document(), supplies=(removed,))
    assert agent.run_once(("software",), 30.0)
    assert installed(agent)
    agent = make_agent()
    master.set(document(generation=2, state=InstanceState.DESTROYED), supplies=(removed,))
    assert agent.run_once(("software", "partition"), 30.0)
    assert not installed(agent)
    assert master.last_software(manifest.sha256).status is SoftwareStatus.REMOVED
    assert not list(agent._folder.manifests.iterdir())


def test_the_stored_manifest_is_the_signed_one(make_agent: Make, master: Any, manifest: ReleaseManifest) -> None:
    agent = make_agent()
    supply(agent, master, manifest.sha256)
    path = agent._folder.manifests / f"{manifest.sha256}.json"
    assert path.read_bytes() == dumps(master.manifests[manifest.sha256])
    assert Signature(**json.loads(path.read_bytes())["signatures"][0])
