# SPDX-License-Identifier: Apache-2.0
"""Hashes of passwords as servers read them, by the names that they have in passlib.

The salt comes from the caller, so that the same password has the same hash at each processing. The schemes of crypt(3)
are those of the system's libcrypt, which every Debian has; the others need the standard library only.
"""

import base64
import ctypes
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from allotment.errors import AllotmentError

_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT: Final = 16  # bytes
# Costs that take under 0.1 s, because they are paid at each processing; passwords made here have 160 random bits.
_CRYPT: Final[Mapping[str, tuple[str, int]]] = {  # scheme -> how the setting begins, characters of salt
    "sha256_crypt": ("$5$rounds=100000$", 16),
    "sha512_crypt": ("$6$rounds=100000$", 16),
    "bcrypt": ("$2b$10$", 22),
}
_PBKDF2_ROUNDS: Final = 100_000
_PBKDF2: Final = {"pbkdf2_sha256": "sha256", "pbkdf2_sha512": "sha512"}
_LDAP: Final = {"ldap_salted_sha1": "sha1", "ldap_salted_sha256": "sha256", "ldap_salted_sha512": "sha512"}


def schemes() -> tuple[str, ...]:
    """Return the names of all schemes."""
    return (*_CRYPT, *_PBKDF2, *_LDAP)


def hashed(scheme: str, password: str, seed: bytes) -> str:
    """Return the hash of ``password``; ``seed`` (32 bytes) decides the salt."""
    makers: list[tuple[Mapping[str, object], Callable[[str, str, bytes], str]]] = [
        (_CRYPT, _crypt),
        (_PBKDF2, _pbkdf2),
        (_LDAP, _ldap),
    ]
    (make,) = [maker for names, maker in makers if scheme in names]
    return make(scheme, password, seed)


def _crypt(scheme: str, password: str, seed: bytes) -> str:
    prefix, length = _CRYPT[scheme]
    salt = "".join(_ALPHABET[byte % 64] for byte in seed[:length])
    if scheme == "bcrypt":
        salt = f"{salt[:-1]}."  # of the last character only two bits count, and other ones are refused
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except OSError as error:
        raise AllotmentError(f"this machine has no libcrypt for {scheme}: {error}", "Choose a pbkdf2 scheme") from error
    crypt.argtypes, crypt.restype = (ctypes.c_char_p, ctypes.c_char_p), ctypes.c_char_p
    found = crypt(password.encode(), f"{prefix}{salt}".encode())
    if not found or found.startswith(b"*"):
        raise AllotmentError(f"this machine's libcrypt does not know {scheme}", "Choose another scheme")
    return str(found.decode())


def _pbkdf2(scheme: str, password: str, seed: bytes) -> str:
    digest = hashlib.pbkdf2_hmac(_PBKDF2[scheme], password.encode(), seed[:_SALT], _PBKDF2_ROUNDS)
    salt, checksum = (_base64(data).replace("+", ".").rstrip("=") for data in (seed[:_SALT], digest))
    return f"${scheme.replace('_', '-')}${_PBKDF2_ROUNDS}${salt}${checksum}"


def _ldap(scheme: str, password: str, seed: bytes) -> str:
    kind = _LDAP[scheme]
    salt = seed[:_SALT]
    digest = hashlib.new(kind, password.encode() + salt).digest()
    return f"{{SSHA{kind.removeprefix('sha').removeprefix('1')}}}{_base64(digest + salt)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
