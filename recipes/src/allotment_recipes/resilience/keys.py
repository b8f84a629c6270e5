# SPDX-License-Identifier: Apache-2.0
"""Keys of OpenSSH, kind ed25519: made once on the node, and lines that let others in."""

import base64
import binascii
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited
from allotment.options import OptionProblem

KIND: Final = "ssh-ed25519"
_LIMIT: Final = 1 << 16  # bytes of a key's file
_SECONDS: Final = 30.0  # for ssh-keygen
_MAGIC: Final = b"openssh-key-v1\0"
_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_PUBLIC: Final = re.compile(rf"{KIND} (AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{{43}})(?: .*)?")


def kept_or_made(keygen: Path, file: Path) -> tuple[str, str]:
    """Return the private key that ``file`` keeps, or a new one that somebody has to write, and its public key."""
    data = read_limited(file, _LIMIT)
    private = make(keygen) if data is None else data.decode(errors="replace")
    try:
        return private, public_of(private)
    except ValueError as error:
        fix = "Put the file back; or remove it, and give the new public key to all who know the old one"
        raise OptionProblem("key-file", f"{file} holds no ed25519 key without a passphrase", fix) from error


def make(keygen: Path) -> str:
    """Return a new private key."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(keygen), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", f"{folder}/key"]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OptionProblem(
                "keygen-binary", f"{keygen} can't be run: {error}", "Name OpenSSH's ssh-keygen"
            ) from error
        if done.returncode:
            raise OptionProblem("keygen-binary", f"no key was made: {done.stderr.strip()}", "Name OpenSSH's ssh-keygen")
        return Path(folder, "key").read_text()


def public_of(private: str) -> str:
    """Return the public key that stands in a private one; a ValueError when there is none that can be used."""
    text = private.strip()
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise ValueError("not a key of OpenSSH")
    try:
        data = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if not data.startswith(_MAGIC):
        raise ValueError("not a key of OpenSSH")
    rest = data[len(_MAGIC) :]
    fields = []
    for _ in range(3):  # cipher, key derivation, its options
        field, rest = _field(rest)
        fields.append(field)
    blob, _ = _field(rest[4:])  # after the number of keys
    public = f"{KIND} {base64.b64encode(blob).decode()}"
    if fields[0] != b"none" or not _PUBLIC.fullmatch(public):
        raise ValueError("another kind, or with a passphrase")
    return public


def _field(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4])
    if len(data) < end:
        raise ValueError("cut short")
    return data[4:end], data[end:]


def read_public(option: str, text: str) -> str:
    """Return a public key without its comment."""
    found = _PUBLIC.fullmatch(" ".join(text.split()))
    if found is None:
        raise OptionProblem(option, f"{text[:60]!r} is not an ed25519 key", f"Write it like: {KIND} AAAAC3Nz...")
    return f"{KIND} {found[1]}"


def authorized(keys: Iterable[str], command: str) -> str:
    """Return lines of ``authorized_keys``: who has one of the keys runs ``command``, and can do nothing else."""
    quoted = command.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(f'restrict,command="{quoted}" {key}\n' for key in dict.fromkeys(keys))


def check_program(option: str, path: Path) -> None:
    """Raise when a program is not named by its whole path: services have no search path that can be relied on."""
    if not path.is_absolute():
        raise OptionProblem(option, f"{path} is not a whole path", "Write it like ${openssh:location}/bin/ssh")
    if not os.access(path, os.X_OK):
        raise OptionProblem(option, f"{path} can't be run", "Name a program that is there")
