# SPDX-License-Identifier: Apache-2.0
"""Parts from binary caches: looked up, verified, unpacked. What is wrong with one is said, and the part is built.

A build asks for all its parts at once, before the first one is needed. Each part is then taken in a process of its own,
which inherits the answers; that a cache has failed the others learn from a file in the release's folder.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment.codec import canonical
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.binary_cache import PackedPart, SignedPackedPart
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
from allotment_recipes.binary_cache.download import downloaded
from allotment_recipes.binary_cache.entry import Wanted
from allotment_recipes.binary_cache.folder import FolderCache
from allotment_recipes.context import RunContext
from allotment_recipes.shared_store import remove

MISSING: Final = 60.0  # seconds for which a part that a cache has not is not asked for again
_STATE: Final = ".build/caches.json"  # in a release's folder: what caches have not, and which failed
_logger = logging.getLogger("cache")


@dataclass
class _Known:
    """What this process has learnt of one cache."""

    url: str
    keys: tuple[str, ...]
    entries: dict[str, SignedPackedPart] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)  # part -> when it was asked for, since the epoch
    refused: set[str] = field(default_factory=set)  # in this build: the next one may trust another key
    failed: str = ""  # why it is left alone for the rest of the build


_known: dict[tuple[Path, str], _Known] = {}  # by the release's folder and the URL


def look_up(run: RunContext, wanted: Iterable[Wanted]) -> frozenset[str]:
    """Ask the caches of a build for its parts; return those that can be had. Called once, when the build begins."""
    asked = list(wanted)
    _forget(run)
    found: set[str] = set()
    for cache in _caches(run):
        _ask(run, cache, [item for item in asked if item.part not in found])
        found |= {item.part for item in asked if _offered(cache, item) is not None}
    return frozenset(found)


def fetch_part(run: RunContext, digest: str, location: Path, folder: Path) -> Mapping[str, Any] | None:
    """Fill the empty ``folder`` with the part that is to be ``location``; return what is to be noted of it.

    None when no cache has it, or what it has is refused: the reason is in the log, and the folder is empty again.
    """
    wanted = Wanted(location, digest)
    for cache in _caches(run):
        if _failure(run, cache):
            continue
        _ask(run, cache, [wanted])
        signed = _offered(cache, wanted)
        if signed is None:
            continue
        began = time.monotonic()
        try:
            _take(run, cache.url, signed, wanted, folder)
        except AllotmentError as error:
            _empty(folder)
            _logger.warning("%s from %s is refused: %s", wanted.part, shown(cache.url), error.what)
            if isinstance(error, UnreachableError):
                _fail(run, cache, error.what)
            continue
        except BaseException:
            _empty(folder)
            raise
        return _note(signed.packed, cache.url, time.monotonic() - began)
    return None


def shown(url: str) -> str:
    """Return a URL without the password that it may hold."""
    from allotment_recipes.providers.url import shown as without_password

    return without_password(url)


def _caches(run: RunContext) -> list[_Known]:
    found = []
    for item in run.caches:
        key = (run.folder, item["url"])
        if key not in _known:
            _known[key] = _Known(item["url"], tuple(item.get("keys", ())))
        found.append(_known[key])
    return found


def _ask(run: RunContext, cache: _Known, wanted: Iterable[Wanted]) -> None:
    """Look up what is not known of a cache yet."""
    now = time.time()
    lacking = [
        item.part
        for item in wanted
        if item.part not in cache.entries.keys() | cache.refused and now - cache.missing.get(item.part, 0.0) > MISSING
    ]
    if not lacking or _failure(run, cache):
        return
    try:
        opened = open_cache(cache.url)
        answers = opened.entries(lacking)
    except AllotmentError as error:
        _fail(run, cache, error.what)
        return
    if isinstance(opened, FolderCache) and not opened.folder.is_dir():
        _logger.warning("the binary cache %s has nothing: there is no such folder", shown(cache.url))
    for part in lacking:
        if part not in answers:
            cache.missing[part] = now
            continue
        try:
            cache.entries[part] = entry.read(answers[part], part)
        except AllotmentError as error:
            cache.refused.add(part)
            _logger.warning("%s from %s is refused: %s", part, shown(cache.url), error.what)
    _keep(run, cache)


def _offered(cache: _Known, wanted: Wanted) -> SignedPackedPart | None:
    """Return a cache's entry when it is good; else say why not, once."""
    signed = cache.entries.get(wanted.part)
    if signed is None:
        return None
    try:
        entry.check(signed, wanted, cache.keys)
    except AllotmentError as error:
        _logger.warning("%s from %s is refused: %s", wanted.part, shown(cache.url), error.what)
        del cache.entries[wanted.part]
        cache.refused.add(wanted.part)
        return None
    return signed


def _take(run: RunContext, url: str, signed: SignedPackedPart, wanted: Wanted, folder: Path) -> None:
    from allotment_recipes.binary_cache.unpacking import unpack

    packed = signed.packed
    cache: BinaryCache = open_cache(url)
    with downloaded(cache, packed, run.sources / ".packed") as archive:
        unpack(archive, folder, wanted.root, packed.size, packed.count, _elsewhere(run, packed, wanted.root))


def _elsewhere(run: RunContext, packed: PackedPart, root: Path) -> dict[str, Path]:
    """Map those references that are not in this store, but in one that is only read, to its root."""
    from allotment_recipes.store import padded_root

    roots = [padded_root(folder) for folder in run.stores]
    lacking = [part for part in packed.references if not (root / part).is_dir()]
    found = ((part, next((other for other in roots if (other / part).is_dir()), None)) for part in lacking)
    return {part: other for part, other in found if other is not None}


def _note(packed: PackedPart, url: str, seconds: float) -> dict[str, Any]:
    size = packed.archive.size / 1e6
    _logger.info("fetched %s, %.1f MB, from %s in %.1f s", packed.part, size, shown(url), seconds)
    fields = {"part": packed.name, "version": packed.version, "hash": packed.digest, "seconds": packed.seconds}
    return {
        **fields,
        "bytes": packed.size,
        "references": list(packed.references),
        "fetched": {"url": shown(url), "seconds": round(seconds, 2), "sha256": packed.archive.sha256},
    }


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove(path)
        else:
            path.unlink()


# What one build's processes tell each other, and the next build: {url: {"missing": {part: time}, "failed": reason}}.


def _read_state(run: RunContext) -> dict[str, Any]:
    try:
        state = json.loads((run.folder / _STATE).read_bytes())
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def _forget(run: RunContext) -> None:
    """Begin a build: what was missing a moment ago still is, and each cache gets another chance."""
    state = _read_state(run)
    for item in run.caches:
        _known.pop((run.folder, item["url"]), None)
    for cache in _caches(run):
        missing = state.get(cache.url, {}).get("missing", {})
        cache.missing = {part: at for part, at in missing.items() if isinstance(at, float) and at <= time.time()}
        _write_state(run, cache, {})


def _keep(run: RunContext, cache: _Known) -> None:
    """Add to what the build's other processes have learnt of a cache meanwhile."""
    path = run.folder / _STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = _read_state(run).get(cache.url, {})
        cache.failed = cache.failed or str(before.get("failed", ""))
        _write_state(run, cache, before.get("missing", {}))
    finally:
        os.close(handle)


def _write_state(run: RunContext, cache: _Known, missing: Mapping[str, float]) -> None:
    own = {"missing": {**missing, **cache.missing}, "failed": cache.failed}
    path = run.folder / _STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, canonical({**_read_state(run), cache.url: own}), sync=False)


def _failure(run: RunContext, cache: _Known) -> str:
    """Return why a cache is left alone: another part of the build may have found it away."""
    cache.failed = cache.failed or str(_read_state(run).get(cache.url, {}).get("failed", ""))
    return cache.failed


def _fail(run: RunContext, cache: _Known, reason: str) -> None:
    _logger.warning("the binary cache %s is left alone for this build: %s", shown(cache.url), reason)
    cache.failed = reason
    _keep(run, cache)
