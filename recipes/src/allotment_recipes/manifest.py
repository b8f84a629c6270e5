# SPDX-License-Identifier: Apache-2.0
"""Make a release's manifest by building it, and build what a manifest says: the same closure, the same parts."""

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.atomic import write_bytes
from allotment.blobs import BlobStore
from allotment.codec import dumps
from allotment.errors import AllotmentError, MachineError
from allotment.messages.manifest import Blob, Distribution, ReleaseManifest
from allotment_recipes import closure as closures
from allotment_recipes.compiler import compiler
from allotment_recipes.engine import BuildEngine, BuildRequest, BuildResult
from allotment_recipes.release import ReleaseDescription, describe, software_types
from allotment_recipes.store import platform_name

TIMEOUT = 3600.0  # seconds for a whole build


class BuildError(AllotmentError):
    """A release could not be built; the log has what its parts printed."""


class BuildMachineError(BuildError, MachineError):
    """As before, and the reason is this machine: it lacks a program, or a server is away."""


@dataclass(frozen=True)
class BuiltRelease:
    """A release that was built here."""

    manifest: ReleaseManifest
    closure: Path  # the archive, named by its sha256 in the source cache
    seconds: float = 0.0


def build_release(
    profile: Path,
    root: Path,
    folder: Path,
    sources: Path,
    engine: BuildEngine,
    log: Path,
    *,
    timeout: float = TIMEOUT,
    development: bool = False,
    store: Path | None = None,
    stores: Sequence[Path] = (),
    caches: Sequence[Mapping[str, Any]] = (),
    jobs: int = 0,
    keep_going: bool = False,
    progress: Callable[[str], object] = lambda line: None,
) -> BuiltRelease:
    """Build the release of ``profile`` (a software.cfg on disk) into ``folder`` and return its manifest.

    It is built from an unpacked copy of the closure inside ``folder``, so nothing refers to ``root`` afterwards.
    Parts that releases share go to ``store``, or are taken from it or from one of ``stores``, which are only read.
    Those that are nowhere are asked of ``caches``, in order: each has a ``url``, and the ``keys`` that are trusted.
    At most ``jobs`` commands run at the same time, by default as many as there are cores; with ``keep_going`` all that
    does not depend on a part that fails is built.
    """
    profile, root, folder = profile.resolve(), root.resolve(), folder.resolve()
    description = _described(profile)
    types = software_types(profile, description)
    with _disk_errors(folder, sources):
        folder.mkdir(parents=True, exist_ok=True)
        progress(f"reading {profile}")
        archive = closures.pack(root, closure_files(profile, engine, folder, sources, log))
        digest = BlobStore(sources).write([archive])
        path = BlobStore(sources).path(digest)
        place = profile.relative_to(root).as_posix()
        progress(f"building {description.name} in {folder}")
        result = _build(
            path, digest, place, folder, sources, engine, log,
            timeout=timeout, development=development, store=store, stores=stores, caches=caches, jobs=jobs,
            keep_going=keep_going,
        )  # fmt: skip
        if not result.ok:
            kind = BuildMachineError if result.cause == "machine" else BuildError
            raise kind(f"{description.name} can't be built, see {log}: {result.error.removesuffix('.')}")
        manifest = ReleaseManifest(
            name=description.name,
            profile=place,
            closure=Blob(digest, len(archive)),
            software_types=types,
            parts={platform_name(): dict(result.parts)},
            distributions=tuple(Distribution(**item) for item in result.distributions),
            licences=description.licences,
            compiler=compiler(),
        )
        _check_profiles(manifest, folder)
        write_bytes(folder / "manifest.json", dumps(manifest))
        return BuiltRelease(manifest, path, result.seconds)


def _described(profile: Path) -> ReleaseDescription:
    if not profile.is_file():
        raise AllotmentError(f"{profile} does not exist", "Give the path of a software.cfg, or of its folder")
    description = describe(profile)
    if description.name != profile.parent.name:  # the farm knows it by its folder, masters by this
        raise AllotmentError(
            f"{profile}.json: name is {description.name!r} and its folder is {profile.parent.name!r}",
            f'Write "name": "{profile.parent.name}", or rename the folder',
        )
    return description


def install_release(
    manifest: ReleaseManifest,
    closure: Path,
    folder: Path,
    sources: Path,
    engine: BuildEngine,
    log: Path,
    *,
    timeout: float = TIMEOUT,
    development: bool = False,
    store: Path | None = None,
    stores: Sequence[Path] = (),
    caches: Sequence[Mapping[str, Any]] = (),
) -> BuildResult:
    """Build what ``manifest`` says from its ``closure`` archive; other parts than it lists are a failure.

    A failure is a result, not an exception: the node reports it.
    """
    try:
        with _disk_errors(folder, sources):
            data = closure.read_bytes()
            found = hashlib.sha256(data).hexdigest()
            if found != manifest.closure.sha256:
                raise BuildError(f"{closure} has the sha256 {found}, not {manifest.closure.sha256}", "Fetch it again")
            result = _build(
                closure, found, manifest.profile, folder.resolve(), sources, engine, log,
                timeout=timeout, development=development, store=store, stores=stores, caches=caches,
                known_compiler=manifest.compiler,
            )  # fmt: skip
            if result.ok:
                _check_parts(manifest, result)
                _check_profiles(manifest, folder)
                write_bytes(folder / "manifest.json", dumps(manifest))
            return result
    except AllotmentError as error:
        return BuildResult(False, str(error), {}, 0.0)


@contextlib.contextmanager
def _disk_errors(folder: Path, sources: Path) -> Iterator[None]:
    """Say what the system refuses, such as a full disk, where it happened; what is written to has no name in it."""
    try:
        yield
    except OSError as error:
        place = error.filename or f"{folder} or {sources}"
        raise BuildError(f"{place}: {error.strerror}", "Mend that and build again: what is whole is kept") from error


def _build(
    archive: Path, digest: str, profile: str, folder: Path, sources: Path, engine: BuildEngine, log: Path,
    *, timeout: float, development: bool, store: Path | None, stores: Sequence[Path],
    caches: Sequence[Mapping[str, Any]], known_compiler: str = "", jobs: int = 0, keep_going: bool = False,
) -> BuildResult:  # fmt: skip
    place = folder / "closure"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _unpack(archive, digest, place)
        name = str(closures.safe_name(profile, "the manifest's profile"))
        request = BuildRequest(
            place, name, folder, sources.resolve(), timeout, development, store and store.resolve(),
            tuple(str(lower.resolve()) for lower in stores), tuple(caches), known_compiler, jobs, keep_going,
        )  # fmt: skip
        return engine.build(request, log)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second build of the same folder, which would take the profiles away under the first."""
    with (folder / ".closure.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(f"another build is at work in {folder}", "Wait until it has ended") from None
        yield


def _unpack(archive: Path, digest: str, place: Path) -> None:
    """Unpack the closure to ``place``, unless it is there; what a killed build has left of it is removed."""
    mark = place.with_name(".closure-sha256")
    if place.is_dir() and mark.is_file() and mark.read_text() == digest:
        return
    mark.unlink(missing_ok=True)
    for leftover in place.parent.glob(".closure-*/"):
        shutil.rmtree(leftover)
    closures.unpack(archive, place)
    write_bytes(mark, digest.encode())


def closure_files(profile: Path, engine: BuildEngine, folder: Path, sources: Path, log: Path) -> set[Path]:
    """Return all files that a release reads; ``folder`` may be written to."""
    files = set(closures.release_files(profile.parent))
    read = engine.read(profile, folder, sources, log)
    for path in (*read.profiles, *read.named):
        files.update(closures.release_files(path) if path.is_dir() else [path])
    return files


def _check_parts(manifest: ReleaseManifest, result: BuildResult) -> None:
    if not manifest.parts:
        return  # a manifest that was made without a build
    expected = manifest.parts.get(platform_name())
    if expected is None:
        proved = ", ".join(sorted(manifest.parts))
        raise BuildError(
            f"{manifest.name} was built for {proved}, and this is {platform_name()}", "Build it for this platform too"
        )
    parts = result.parts
    different = sorted(name for name in {*expected, *parts} if expected.get(name) != parts.get(name))
    if different:
        here = {Distribution(**item) for item in result.distributions}
        raise BuildError(
            f"{manifest.name}: these parts have other inputs here than where it was proved: {', '.join(different)}",
            f"The recipes are the same: install the compiler that it was proved with, here it is {compiler() or 'none'}"
            if here == set(manifest.distributions)
            else "Install the versions of the recipes that the manifest lists under distributions",
        )


def _check_profiles(manifest: ReleaseManifest, folder: Path) -> None:
    for name, item in manifest.software_types.items():
        if not (folder / closures.safe_name(item.profile, f"software type {name}")).is_file():
            raise BuildError(
                f"{manifest.name}: software type '{name}' has the profile {item.profile}, which no part wrote",
                "Let a part of software.cfg write it, or correct software.cfg.json",
            )
