# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures: over a release's manifest by whoever proved it, over a packed part by whoever built it."""

import base64
import os
import secrets
from collections.abc import Iterable, Sequence
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
        return SignedManifest(manifest, (self.signature(dumps(manifest)),))

    def signature(self, data: bytes) -> Signature:
        """Return this key's signature over ``data``: a document's canonical JSON."""
        return Signature(self.public, base64.b64encode(self._key.sign(data)).decode())


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
    if not signed.signatures:
        raise SignatureError(f"{title} is not signed", "Let a farm prove it, or supply it as development")
    check(title, dumps(manifest), signed.signatures, trusted, "this node")


def check(title: str, data: bytes, signatures: Sequence[Signature], trusted: Iterable[str], who: str) -> None:
    """Return when a key that ``who`` has in ``trusted`` signed ``data``, which errors call ``title``."""
    known = {key.strip() for key in trusted if key.strip()}
    accepted = [signature for signature in signatures if signature.key in known]
    if not accepted:
        keys = ", ".join(signature.key for signature in signatures) or "nobody"
        raise SignatureError(f"{title} is signed by {keys} only, which {who} does not trust", "Trust one of these keys")
    for signature in accepted:
        public = Ed25519PublicKey.from_public_bytes(_decode(signature.key, "trusted key"))
        try:
            public.verify(base64.b64decode(signature.value, validate=True), data)
        except (InvalidSignature, ValueError) as error:  # ValueError: no base64, or letters that it never has
            raise SignatureError(f"{title} has a wrong signature of {signature.key}", "Fetch it again") from error


def check_public(key: str, where: str) -> None:
    """Raise unless ``key`` is a public key."""
    _decode(key, where)


def _create_key(path: Path) -> SigningKey:
    try:
        return _write_key(path)
    except OSError as error:
        raise SignatureError(
            f"no key can be made: {error.filename or path}: {error.strerror}",
            "It must be in a folder that this user may write to",
        ) from error


def _write_key(path: Path) -> SigningKey:
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
