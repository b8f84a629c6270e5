# SPDX-License-Identifier: Apache-2.0
"""Software releases on this node: fetched, verified, installed, removed; what is installed is what was signed."""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from allotment import atomic
from allotment.blobs import BlobStore
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.manifest import ReleaseManifest, SignedManifest
from allotment_node.folder import NodeFolder, remove_tree
from allotment_node.logs import with_tail
from allotment_node.masters import Masters

if TYPE_CHECKING:
    from allotment_recipes.engine import BuildResult

_MARKER: Final = ".allotment-installed.json"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_log = logging.getLogger(__name__)


class SoftwareError(AllotmentError):
    """A release can't be installed."""


class Install(Protocol):
    """How a verified release is installed: :func:`allotment_recipes.manifest.install_release` with its engine."""

    def __call__(
        self, manifest: ReleaseManifest, closure: Path, folder: Path, sources: Path, log: Path, development: bool
    ) -> "BuildResult": ...


class Software:
    """The releases in ``software/<name>-<first 12 digits of the manifest's sha256>``.

    ``trusted`` returns the public keys that this node's operator trusts; ``verify`` checks a signed manifest against
    them and raises an AllotmentError.
    """

    def __init__(
        self,
        folder: NodeFolder,
        masters: Masters,
        install: Install,
        trusted: Callable[[], tuple[str, ...]],
        verify: Callable[[SignedManifest, Iterable[str]], None],
        allow_development: bool,
        stores: Iterable[Path] = (),
    ) -> None:
        self._folder = folder
        self._masters = masters
        self._install = install
        self._trusted = trusted
        self._verify = verify
        self._allow_development = allow_development
        self._stores = (folder.store, *stores)  # where shared parts are
        self._blobs = BlobStore(folder.blobs)
        self._installed: dict[str, tuple[Path, ReleaseManifest]] = {}

    def installed(self, sha256: str) -> tuple[Path, ReleaseManifest] | None:
        """Return a release's folder and manifest, None when it is not there or not complete."""
        if sha256 not in self._installed:
            signed = self._stored(sha256)
            if signed is None:
                return None
            folder = self._place(signed.manifest)
            if not self._is_complete(folder, sha256):
                return None
            self._installed[sha256] = (folder, signed.manifest)
        return self._installed[sha256]

    def install(self, sha256: str, development: bool) -> Path:
        """Install a release unless it is there; raises AllotmentError with the end of the log when it fails."""
        found = self.installed(sha256)
        if found is not None:
            return found[0]
        signed = self._fetch(sha256)
        accepted_unsigned = self._check(signed, sha256, development)
        manifest = signed.manifest
        closure = self._fetch_closure(manifest.closure.sha256)
        if closure.stat().st_size != manifest.closure.size:
            raise SoftwareError(
                f"the closure of {manifest.name} is not of the size in its manifest", "Release it again"
            )
        folder = self._place(manifest)
        remove_tree(folder)  # what an interrupted installation has left
        log = self.log(manifest)
        _log.info("installing %s into %s", manifest.name, folder)
        try:
            result = self._install(manifest, closure, folder, self._folder.blobs, log, accepted_unsigned)
        except AllotmentError as error:
            raise SoftwareError(with_tail(f"{manifest.name} can't be installed: {error}", log)) from error
        if not result.ok:
            raise SoftwareError(with_tail(f"{manifest.name} can't be installed: {result.error}", log))
        atomic.write_bytes(self._folder.manifests / f"{sha256}.json", dumps(signed), 0o600)
        marker = {"format": 1, "manifest": sha256, "parts": self._shared_parts(manifest)}
        atomic.sync_file_system(folder)
        atomic.write_bytes(folder / _MARKER, json.dumps(marker).encode(), 0o444)
        _log.info("installed %s in %.1f s", manifest.name, result.seconds)
        return folder

    def remove(self, sha256: str) -> None:
        """Remove a release from disk; its marker goes first, so that a half removed one never counts."""
        self._installed.pop(sha256, None)
        signed = self._stored(sha256)
        if signed is not None:
            folder = self._place(signed.manifest)
            (folder / _MARKER).unlink(missing_ok=True)
            remove_tree(folder)
            self.log(signed.manifest).unlink(missing_ok=True)
            (self._folder.manifests / f"{sha256}.json").unlink(missing_ok=True)

    def log(self, manifest: ReleaseManifest) -> Path:
        """Return where a release's installation is logged."""
        return self._folder.logs / f"software-{manifest.name}-{manifest.sha256[:12]}.log"

    def _fetch(self, sha256: str) -> SignedManifest:
        return self._stored(sha256) or self._masters.call(lambda master: master.get_manifest(sha256))

    def _fetch_closure(self, sha256: str) -> Path:
        if sha256 in self._blobs:
            with contextlib.suppress(AllotmentError):  # damaged on disk: it is gone now, and fetched again
                self._blobs.read(sha256)
        self._masters.call(lambda master: master.get_blob(sha256, self._blobs))
        return self._blobs.path(sha256)

    def _stored(self, sha256: str) -> SignedManifest | None:
        path = self._folder.manifests / f"{sha256}.json"
        try:
            return loads(SignedManifest, path.read_bytes(), str(path))
        except FileNotFoundError:
            return None

    def _check(self, signed: SignedManifest, sha256: str, development: bool) -> bool:
        """Refuse a manifest that is another than asked for, or that nobody trusted has signed.

        Return whether it is an unsigned one that is accepted as development.
        """
        manifest = signed.manifest
        if manifest.sha256 != sha256:
            raise SoftwareError(
                f"the master sent manifest {manifest.sha256[:12]} ({manifest.name}) for {sha256[:12]}",
                "Look for who changed it at the master",
            )
        if not _NAME.fullmatch(manifest.name):
            raise SoftwareError(f"{manifest.name!r} is not a release's name", "Use a-z, 0-9, '.', '_' and '-'")
        if not signed.signatures and development and self._allow_development:
            _log.warning("%s is not signed; accepted as development", manifest.name)
            return True
        if not signed.signatures:
            raise SoftwareError(
                f"{manifest.name} ({sha256[:12]}) is not signed",
                "Supply one that a farm has signed, or as development to a node with allow-development = true",
            )
        self._verify(signed, self._trusted())
        return False

    def _place(self, manifest: ReleaseManifest) -> Path:
        return self._folder.software / f"{manifest.name}-{manifest.sha256[:12]}"

    def _shared_parts(self, manifest: ReleaseManifest) -> list[str]:
        """Return the folders of those parts of a release that are in a store of all releases."""
        from allotment_recipes.store import HASH_DIGITS

        ends = {digest[:HASH_DIGITS] for parts in manifest.parts.values() for digest in parts.values()}
        found: dict[str, Path] = {}
        for path in (path for store in self._stores for path in store.glob("*/*")):
            if path.name[-HASH_DIGITS:] in ends:
                found.setdefault(path.name, path)
        return sorted(map(str, found.values()))

    def _is_complete(self, folder: Path, sha256: str) -> bool:
        """Whether a release was installed to the end, and all that it has in the store is still there."""
        from allotment_recipes.shared_store import Store

        try:
            marker = json.loads((folder / _MARKER).read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        store = Store(self._folder.store)
        return marker["manifest"] == sha256 and all(store.holds(Path(part)) for part in marker.get("parts", ()))
