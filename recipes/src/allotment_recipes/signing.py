# SPDX-License-Identifier: Apache-2.0
"""Signatures over release manifests: Ed25519, by whoever proved the release, checked by whoever deploys it."""

import base64
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from allotment.codec import dumps
from allotment.errors import AllotmentError
from allotment.messages.manifest import ReleaseManifest, Signature, SignedManifest

PREFIX = "ed25519:"


class SignatureError(AllotmentError):
    """A manifest is not signed by anyone whom this node trusts, or the signature is wrong."""


class SigningKey:
    """A private key; ``public`` is what others put on their list of trusted keys."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public = PREFIX + base64.b64encode(raw).decode()

    def sign(self, manifest: ReleaseManifest) -> SignedManifest:
        """Return the manifest with this key's signature over its canonical JSON."""
        value = base64.b64encode(self._key.sign(dumps(manifest))).decode()
        return SignedManifest(manifest, (Signature(self.public, value),))


def load_or_create_key(path: Path) -> SigningKey:
    """Return the key in ``path`` (mode 0600), making it at the first call."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return _create_key(path)
    except OSError as error:
        raise SignatureError(
            f"{path} can't be read: {error.strerror}", "It must be a file that you may read"
        ) from error
    if path.stat().st_mode & 0o077:
        raise SignatureError(f"{path} can be read by others", f"Run 'chmod 600 {path}', or remove it to make a new key")
    return SigningKey(Ed25519PrivateKey.from_private_bytes(_decode(text.strip(), str(path))))


def verify(signed: SignedManifest, trusted: Iterable[str]) -> None:
    """Return when one of the ``trusted`` public keys signed the manifest; else raise :class:`SignatureError`.

    A wrong signature under a trusted key's name is refused even beside a good one: somebody tampered.
    """
    manifest = signed.manifest
    title = f"manifest {manifest.sha256[:12]} of {manifest.name}"
    known = {key.strip() for key in trusted if key.strip()}
    if not signed.signatures:
        raise SignatureError(f"{title} is not signed", "Let a farm prove it, or supply it as development")
    accepted = [signature for signature in signed.signatures if signature.key in known]
    if not accepted:
        keys = ", ".join(signature.key for signature in signed.signatures)
        raise SignatureError(
            f"{title} is signed by {keys} only, which this node does not trust", "Trust one of these keys"
        )
    for signature in accepted:
        public = Ed25519PublicKey.from_public_bytes(_decode(signature.key, "trusted key"))
        try:
            public.verify(base64.b64decode(signature.value, validate=True), dumps(manifest))
        except (InvalidSignature, ValueError) as error:  # ValueError: no base64, or letters that it never has
            raise SignatureError(f"{title} has a wrong signature of {signature.key}", "Fetch it again") from error


def _create_key(path: Path) -> SigningKey:
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"{PREFIX}{base64.b64encode(raw).decode()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # the first of two makers wins
    except FileExistsError:
        return load_or_create_key(path)
    finally:
        temporary.unlink()
    return SigningKey(key)


def _decode(text: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise SignatureError(f"{where} is not base64: {error}", "Give 'ed25519:' and 32 bytes in base64") from error
    if not text.startswith(PREFIX) or len(raw) != 32:
        raise SignatureError(f"{where} is not an Ed25519 key", "Give 'ed25519:' and 32 bytes in base64")
    return raw
