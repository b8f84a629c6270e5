# SPDX-License-Identifier: Apache-2.0
"""The tarballs that a package-lock.json pins, each by its integrity: brought into the source cache."""

import base64
import binascii
import hashlib
import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment_recipes.providers import npm as npm_provider
from allotment_recipes.providers import source_server
from allotment_recipes.providers import url as url_provider
from allotment_recipes.source_cache import notes
from allotment_recipes.sources import JOBS, NotMine, Source, SourceAwayError, SourceError

_VERSIONS: Final = (2, 3)  # of the lock's format: those that list packages by folder
_PACKAGE: Final = re.compile(r"(@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9~][A-Za-z0-9._~-]*@[0-9][A-Za-z0-9.+-]*")
_LIMIT: Final = 1 << 30  # bytes of a tarball


@dataclass(frozen=True)
class Tarball:
    """One package of a lock."""

    name: str  # name@version
    url: str
    sha512: str


def read_lock(text: str, where: str) -> tuple[Tarball, ...]:
    """Return the tarballs of a package-lock.json; one that nothing pins is an error."""
    try:
        lock: dict[str, Any] = json.loads(text)
        version, packages = lock["lockfileVersion"], lock["packages"]
        if version not in _VERSIONS:
            raise AllotmentError(f"{where} has the format {version}", "Write it anew with npm 7 or later")
        found = [_tarball(place, package, where) for place, package in packages.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AllotmentError(f"{where} is no package-lock.json: {error!r}", "Write it anew with npm install") from error
    return tuple(dict.fromkeys(tarball for tarball in found if tarball is not None))


def fetch_tarballs(tarballs: tuple[Tarball, ...], blobs: BlobStore) -> dict[Tarball, str]:
    """Bring all tarballs into ``blobs``, several at a time; return the sha256 of each. One error lists all reasons."""
    with ThreadPoolExecutor(max_workers=JOBS, thread_name_prefix="npm") as pool:
        running = [pool.submit(fetch_tarball, tarball, blobs) for tarball in tarballs]
    errors = [error for future in running if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, AllotmentError):
            raise error
    if errors:
        kind = SourceAwayError if all(isinstance(error, MachineError) for error in errors) else SourceError
        text = "\n".join(error.what for error in errors if isinstance(error, AllotmentError))
        raise kind(text, "Correct package-lock.json, or put the bytes into the source cache")
    return {tarball: future.result() for tarball, future in zip(tarballs, running, strict=True)}


def _tarball(place: str, package: dict[str, Any], where: str) -> Tarball | None:
    if package.get("link") or place.startswith("/") or ".." in place.split("/"):
        folder = package.get("resolved") if package.get("link") else place
        raise AllotmentError(f"{where}: {place} is the folder {folder}", "Use released versions of packages")
    if not place or package.get("inBundle") or "node_modules/" not in place:
        return None  # the project itself, a workspace that nothing needs, or what is in another's tarball
    name = package.get("name") or place.rpartition("node_modules/")[2]
    shown = f"{name}@{package.get('version')}"
    if not _PACKAGE.fullmatch(shown):
        raise AllotmentError(f"{where}: {shown!r} is no package of a registry", "Use released versions of packages")
    integrity = [word for word in str(package.get("integrity", "")).split() if word.startswith("sha512-")]
    try:
        digest = base64.b64decode(integrity[0].removeprefix("sha512-"), validate=True).hex()
    except (IndexError, binascii.Error):
        digest = ""
    if len(digest) != 128:
        raise AllotmentError(f"{where}: {shown} has no sha512", "Write the lock anew with a registry that gives it")
    url = str(package.get("resolved", ""))
    if url and not url.startswith(("https://", "http://")):
        raise AllotmentError(
            f"{where}: {shown} comes from {url_provider.shown(url)}", "Use released versions of packages"
        )
    return Tarball(shown, url, digest)


def kept(tarball: Tarball, blobs: BlobStore) -> Path | None:
    """Return where a tarball is in the source cache: a note beside the blobs has its sha256."""
    note = _note(tarball, blobs)
    known = note.read_text().strip() if note.is_file() else ""
    return blobs.path(known) if re.fullmatch(r"[0-9a-f]{64}", known) and known in blobs else None


def fetch_tarball(tarball: Tarball, blobs: BlobStore) -> str:
    """Return the sha256 of a tarball, which is noted beside the blobs for the next time."""
    if (path := kept(tarball, blobs)) is not None:
        return path.name
    reasons: list[AllotmentError] = []
    with tempfile.TemporaryDirectory(prefix="allotment-npm-") as folder:
        for bring in (_by_server, _by_url, _by_npm):
            try:
                path = bring(tarball, Path(folder))
                found = _sha512(path)
                if found != tarball.sha512:
                    raise AllotmentError(f"the sha512 should be {tarball.sha512} but is {found}")
                sha256 = blobs.add(path)
            except NotMine:
                continue
            except AllotmentError as error:
                reasons.append(error)
                continue
            _note(tarball, blobs).parent.mkdir(exist_ok=True)
            write_bytes(_note(tarball, blobs), f"{sha256}\n".encode())
            notes.note(blobs, sha256, tarball.name)
            return sha256
    kind = UnreachableError if any(isinstance(error, MachineError) for error in reasons) else AllotmentError
    raise kind(f"{tarball.name} can't be had: {'; '.join(error.what for error in reasons)}")


def _note(tarball: Tarball, blobs: BlobStore) -> Path:
    return blobs.folder / ".sha512" / tarball.sha512


def _by_server(tarball: Tarball, folder: Path) -> Path:
    """Ask the other machines' source caches, which know a tarball by its sha512 too."""
    path = folder / "by-server.tgz"
    source_server.download(f"sha512/{tarball.sha512}", Source("0" * 64, tarball.name, size_limit=_LIMIT), path)
    return path


def _by_url(tarball: Tarball, folder: Path) -> Path:
    if not tarball.url:
        raise AllotmentError("the lock has no address")
    path = folder / "by-url.tgz"
    source = Source("0" * 64, tarball.name, urls=(tarball.url,), size_limit=_LIMIT)
    url_provider.download(tarball.url, source, path)
    return path


def _by_npm(tarball: Tarball, folder: Path) -> Path:
    """Ask the registry that the machine's npm is configured for: the lock's may be another one."""
    place = folder / "by-npm"
    place.mkdir()
    return npm_provider.pack(tarball.name, place)


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
