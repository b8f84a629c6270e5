# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re
from pathlib import Path

import pytest

from allotment.codec import dumps, loads
from allotment.messages.manifest import Blob, ReleaseManifest, Signature, SignedManifest
from allotment_recipes.signing import SignatureError, load_or_create_key, verify

MANIFEST = ReleaseManifest("tiny", "software.cfg", Blob("0" * 64, 1), {}, {})


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path).public == key.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", key.public)
    assert [item.name for item in path.parent.iterdir()] == ["signing.key"]


def test_a_signed_manifest_is_accepted_by_who_trusts_the_key(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "a")
    signed = loads(SignedManifest, dumps(key.sign(MANIFEST)))
    verify(signed, ["ed25519:" + "A" * 43 + "=", f" {key.public}\n"])


def test_an_unsigned_manifest_is_refused() -> None:
    with pytest.raises(SignatureError, match=r"^manifest [0-9a-f]{12} of tiny is not signed\. Let a farm prove it"):
        verify(SignedManifest(MANIFEST), [])


def test_a_stranger_s_signature_is_refused(tmp_path: Path) -> None:
    key, other = load_or_create_key(tmp_path / "a"), load_or_create_key(tmp_path / "b")
    with pytest.raises(
        SignatureError, match=re.escape(f"is signed by {key.public} only, which this node does not trust")
    ):
        verify(key.sign(MANIFEST), [other.public])


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "a")
    signed = dataclasses.replace(key.sign(MANIFEST), manifest=dataclasses.replace(MANIFEST, name="other"))
    with pytest.raises(SignatureError, match=re.escape(f"has a wrong signature of {key.public}")):
        verify(signed, [key.public])


@pytest.mark.parametrize("value", ["", "A" * 86 + "==", "not base64!", "AAAA", "é"])
def test_a_wrong_signature_is_refused(tmp_path: Path, value: str) -> None:
    key = load_or_create_key(tmp_path / "a")
    with pytest.raises(SignatureError, match="has a wrong signature"):
        verify(SignedManifest(MANIFEST, (Signature(key.public, value),)), [key.public])


@pytest.mark.parametrize("text", ["", "ed25519:", "rsa:AAAA", "ed25519:AAAA", "ed25519:*", "ed25519:é"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SignatureError, match=re.escape(f"{path} is not ")):
        load_or_create_key(path)


def test_a_key_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff" * 32)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(SignatureError, match="key is not base64"):
        load_or_create_key(tmp_path / "key")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SignatureError, match="folder can't be read: Is a directory"):
        load_or_create_key(tmp_path / "folder")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SignatureError, match=r"key can be read by others\. Run 'chmod 600"):
        load_or_create_key(tmp_path / "key")


def test_a_key_that_cannot_be_made_is_told_with_its_place() -> None:
    with pytest.raises(SignatureError, match=r"no key can be made: /proc/self/allotment: .*\. It must be in a folder"):
        load_or_create_key(Path("/proc/self/allotment/cache.key"))  # where root makes no folder either
