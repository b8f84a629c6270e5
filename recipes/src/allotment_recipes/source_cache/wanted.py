# SPDX-License-Identifier: Apache-2.0
"""What the parts of a release want of the source cache, each with its pin, and what of it is there."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import npm_lock, sources
from allotment_recipes.wheels import Pin, fetch_wheel


@dataclass(frozen=True)
class Wanted:
    """One thing that a part fetches; ``found`` returns where it is, None when it is not there."""

    part: str
    kind: str  # source, patch, wheel, npm or git
    name: str
    pin: str  # as in sha256:<digits>; of a wheel perhaps several, one of which will do
    found: Callable[[BlobStore], Path | None]
    bring: Callable[[BlobStore], object]

    def described(self, blobs: BlobStore) -> dict[str, Any]:
        """Return it as plain data; ``size`` is in bytes, None of what is not there."""
        path = self.found(blobs)
        fields = {"part": self.part, "kind": self.kind, "name": self.name, "pin": self.pin}
        return {**fields, "size": None if path is None else _size(path)}


def wanted_of(recipes: Iterable[Any]) -> Iterator[Wanted]:
    """Yield what recipes fetch, by their attributes: ``source``, ``patches``, ``pins``, a lock of npm, a git tree."""
    for recipe in recipes:
        part = str(getattr(recipe, "name", ""))
        for kind, holder in (("source", recipe), *(("patch", patch) for patch in getattr(recipe, "patches", ()))):
            source = getattr(holder, "source", None)
            if isinstance(source, sources.Source):
                yield _of_source(part, kind, source)
        for pin in getattr(recipe, "pins", ()):
            if isinstance(pin, Pin):
                yield _of_pin(part, pin)
        for tarball in getattr(recipe, "tarballs", tuple)():
            yield Wanted(
                part, "npm", tarball.name, f"sha512:{tarball.sha512}",
                functools.partial(npm_lock.kept, tarball), functools.partial(npm_lock.fetch_tarball, tarball),
            )  # fmt: skip
        tree = getattr(recipe, "tree", lambda: None)()
        if tree is not None:
            yield Wanted(part, "git", tree.name, tree.pin, tree.found, tree.bring)


def fetch(wanted: Iterable[Wanted], blobs: BlobStore) -> str:
    """Bring what is not there, several at a time; return why something can't be had, of all that can't."""
    missing = {(item.kind == "git", item.pin): item for item in wanted if item.found(blobs) is None}
    try:
        sources.fetch_all((), blobs, others=[functools.partial(item.bring, blobs) for item in missing.values()])
    except sources.DiskError:
        raise
    except AllotmentError as error:
        return str(error)
    return ""


def _of_source(part: str, kind: str, source: sources.Source) -> Wanted:
    def bring(blobs: BlobStore) -> None:
        sources.fetch(source, blobs)

    return Wanted(part, kind, source.name, f"sha256:{source.sha256}", _by_hash((source.sha256,)), bring)


def _of_pin(part: str, pin: Pin) -> Wanted:
    text = " ".join(f"sha256:{sha256}" for sha256 in pin.hashes)
    return Wanted(part, "wheel", pin.requirement, text, _by_hash(pin.hashes), functools.partial(fetch_wheel, pin))


def _by_hash(hashes: tuple[str, ...]) -> Callable[[BlobStore], Path | None]:
    return lambda blobs: next((blobs.path(sha256) for sha256 in hashes if sha256 in blobs), None)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
