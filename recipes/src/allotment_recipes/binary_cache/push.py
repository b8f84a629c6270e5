# SPDX-License-Identifier: Apache-2.0
"""Give parts of a store to a binary cache: those that were asked for, and all that they refer to."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.codec import loads
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.binary_cache import PackedPart
from allotment.messages.manifest import Blob, ReleaseManifest
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import BinaryCache, keeps
from allotment_recipes.binary_cache.pack import pack
from allotment_recipes.shared_store import is_whole
from allotment_recipes.signing import SigningKey
from allotment_recipes.store import HASH_DIGITS, platform_name
from allotment_recipes.stores.notes import references_of


@dataclass(frozen=True)
class Pushed:
    """What became of one part."""

    part: str
    state: str  # "added", "there" or "refused"
    reason: str = ""
    bytes: int = 0  # of its archive
    fixed: int = 0  # files by which it works in this store's folder only


def parts_of_store(root: Path) -> list[str]:
    """Return the whole parts of the store at ``root``."""
    return sorted(path.stem for path in root.glob(".built/*.json") if is_whole(root / path.stem))


def parts_of_releases(root: Path, folders: Iterable[Path]) -> list[str]:
    """Return the parts of the store at ``root`` that built releases use, as their manifests say."""
    manifests = []
    for folder in folders:
        path = folder / "manifest.json"
        try:
            manifests.append(loads(ReleaseManifest, path.read_bytes(), str(path)))
        except FileNotFoundError:
            raise AllotmentError(
                f"{folder} holds no built release", "Give the folder that 'allot build' names"
            ) from None
    return parts_of_manifests(root, manifests)


def parts_of_manifests(root: Path, manifests: Iterable[ReleaseManifest]) -> list[str]:
    """Return the parts of the store at ``root`` that manifests name for this platform."""
    named = [digest for manifest in manifests for digest in manifest.parts.get(platform_name(), {}).values()]
    hashes = {digest[:HASH_DIGITS] for digest in named}
    return [part for part in parts_of_store(root) if part[-HASH_DIGITS:] in hashes]


def with_references(root: Path, parts: Iterable[str]) -> list[str]:
    """Return parts of a store with all that they refer to, directly or not."""
    found: dict[str, None] = {}
    todo = list(parts)
    while todo:
        part = todo.pop()
        if part not in found and is_whole(root / part):
            found[part] = None
            todo += _note(root, part).get("references", [])
    return sorted(found)


def push(
    cache: BinaryCache, root: Path, parts: Iterable[str], key: SigningKey, told: Callable[[Pushed], None], jobs: int
) -> list[Pushed]:
    """Pack, sign and send what the cache has not yet; ``told`` hears of each part as it is done."""
    wanted = list(parts)
    with _telling(cache):
        there = cache.entries(wanted)
    results = []
    with tempfile.TemporaryDirectory(prefix="allot-push-") as folder, ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(_push, cache, root, part, key, Path(folder), there.get(part)) for part in wanted]
        try:
            for future in as_completed(running):
                results.append(future.result())
                told(results[-1])
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return sorted(results, key=lambda result: result.part)


def _push(cache: BinaryCache, root: Path, part: str, key: SigningKey, folder: Path, there: bytes | None) -> Pushed:
    with _telling(cache):
        if keeps(cache, part, there):
            return Pushed(part, "there")
    note = _note(root, part)
    digest = str(note.get("hash", ""))
    if not digest:
        return Pushed(part, "refused", "it was built before binary caches: its whole hash is not known")
    if others := references_of(root, part).paths:
        return Pushed(part, "refused", f"it names a part of another store, {min(others)}, which is not where it goes")
    archive = folder / f"{part}.tar.zst"
    try:
        packed = pack(root / part, root, archive)
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = archive.stat().st_size
        signed = entry.sign(
            PackedPart(
                part=part, name=note["part"], version=note["version"], digest=digest, platform=platform_name(),
                root=str(root), archive=Blob(sha256, size), size=packed.size, count=packed.count,
                references=tuple(note.get("references", ())), seconds=float(note.get("seconds", 0.0)),
                fixed=tuple(packed.fixed),
            ),
            key,
        )  # fmt: skip
        with _telling(cache):
            is_new = cache.add(signed, archive, lambda done: None)
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        raise AllotmentError(
            f"{part} can't be pushed: {where}: {error.strerror}", "Mend that and push again"
        ) from error
    finally:
        archive.unlink(missing_ok=True)
    return Pushed(part, "added" if is_new else "there", "", size, len(packed.fixed))


@contextlib.contextmanager
def _telling(cache: BinaryCache) -> Iterator[None]:
    """Let what a cache says of a failure name the cache, and what to do."""
    try:
        yield
    except AllotmentError as error:
        where = "" if cache.name in error.what else f"{cache.name}: "
        kind = UnreachableError if isinstance(error, UnreachableError) else AllotmentError
        raise kind(
            f"{where}{error.what}", error.fix or "Mend that and push again: it goes on where it ended"
        ) from error


def _note(root: Path, part: str) -> Mapping[str, Any]:
    try:
        note = json.loads((root / ".built" / f"{part}.json").read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise AllotmentError(
            f"{root}/.built/{part}.json is damaged: {error}", "Remove the part, and build it"
        ) from error
    return note if isinstance(note, dict) else {}
