# SPDX-License-Identifier: Apache-2.0
"""A user's own key for what is built, and the list of keys whose parts this user takes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from allotment.atomic import write_bytes
from allotment.configuration import user_folder
from allotment.errors import AllotmentError
from allotment_recipes.signing import SigningKey, check_public, load_or_create_key


def own_key() -> SigningKey:
    """Return the user's key, making it at the first call."""
    return load_or_create_key(user_folder() / "cache.key")


def trusted_file() -> Path:
    """Return the file with the public keys that the user trusts, one a line."""
    return user_folder() / "trusted-keys"


def trusted_keys() -> tuple[str, ...]:
    """Return the user's list, and the user's own key when there is one."""
    own = (own_key().public,) if (user_folder() / "cache.key").exists() else ()
    return tuple(dict.fromkeys((*read_keys(trusted_file()), *own)))


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the public keys of a file, without comments; one that does not exist has none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AllotmentError(
            f"{path} can't be read: {error.strerror}", "It must be a file that you may read"
        ) from error
    keys = [line.partition("#")[0].strip() for line in lines]
    for number, key in enumerate(keys, 1):
        if key:
            check_public(key, f"{path} line {number}")
    return tuple(filter(None, keys))


def trust(keys: Iterable[str], comment: str = "") -> None:
    """Add public keys to the user's list."""
    known = read_keys(trusted_file())
    new = [key for key in dict.fromkeys(keys) if key not in known]
    for key in new:
        check_public(key, "--trust")
    if new:
        path = trusted_file()
        text = path.read_text() if path.exists() else ""
        more = "".join(f"{key}{f'  # {comment}' if comment else ''}\n" for key in new)
        _write(path, text + ("\n" if text and not text.endswith("\n") else "") + more)


def distrust(key: str) -> None:
    """Take a public key off the user's list."""
    path = trusted_file()
    if key not in read_keys(path):
        raise AllotmentError(f"{key} is not in {path}", "See 'allot cache key'")
    lines = [line for line in path.read_text().splitlines() if line.partition("#")[0].strip() != key]
    _write(path, "".join(f"{line}\n" for line in lines))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode(), 0o600)
    except OSError as error:
        place = error.filename or path
        raise AllotmentError(
            f"{path} can't be written: {place}: {error.strerror}", "It must be in a folder that you may write to"
        ) from error


def trusted_caches(urls: Iterable[str]) -> list[dict[str, Any]]:
    """Return binary caches for a build, with the keys that the user trusts; a path is that of a folder."""
    keys = list(trusted_keys())
    if not keys:
        raise AllotmentError("no key is trusted, so nothing of a cache could be used", "allot cache key --trust KEY")
    return [{"url": url if "://" in url else str(Path(url).absolute()), "keys": keys} for url in urls]
