# SPDX-License-Identifier: Apache-2.0
"""A new component: one folder, one profile, a pinned source."""

import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.new.home import LICENCE, fill, repository
from allotment_recipes.new.writing import check_name, module_name, write_new
from allotment_recipes.source_cache.first_fetch import first_fetch


@dataclass(frozen=True)
class Component:
    """What a component says of itself."""

    name: str
    url: str  # of the source: http, https, or a file's path
    version: str
    description: str
    licence: str  # SPDX expression
    debian_source: str = ""  # "package version suite", for this repository


def new_component(folder: Path, component: Component, sources: Path) -> list[Path]:
    """Fetch the source, pin it, and write the profile; outside of this repository also a test that builds it."""
    check_name(component.name, "component", "zlib")
    root = repository(folder)
    if root is not None and not component.debian_source:
        raise AllotmentError(
            "a component of this repository also names its Debian source package",
            "Add --debian-source 'PACKAGE VERSION SUITE'",
        )
    base = root or folder
    profile = base / "components" / component.name / "buildout.cfg"
    if profile.exists():  # before anything is fetched
        raise AllotmentError(f"{profile} exists already", "Choose another name, or move it away")
    url = component.url if "://" in component.url else (folder / component.url).resolve().as_uri()
    version = component.version or guessed_version(component.name, url)
    texts = {name: " ".join(text.split()).replace("${", "$${") for name, text in vars(component).items()}
    words = {**texts, "version": version, "sha256": _fetch(url, sources), "url": url}
    words["debian"] = f"debian-source = {component.debian_source}\n" if component.debian_source else ""
    words["head"] = LICENCE if root is not None else ""
    files = {profile: fill(PROFILE, words)}
    if root is None:
        files[base / "tests" / f"test_component_{module_name(component.name)}.py"] = fill(TEST, words)
    write_new(files, {})
    return list(files)


def guessed_version(name: str, url: str) -> str:
    """Return the version that a source's file name says."""
    file = urllib.parse.urlsplit(url).path.rpartition("/")[2]
    match = re.search(r"[-_v]?(\d+(?:\.\d+)+[a-z0-9]*?)(?:\.orig)?\.(?:tar|tgz|zip|t[bx]z)", file)
    if match is None:
        raise AllotmentError(f"the version of {name} is not in {file!r}", "Say it with --version")
    return match[1]


def _fetch(url: str, sources: Path) -> str:
    """Bring the source into the cache, so that the first build has it, and return its sha256."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise AllotmentError(f"{url} can't be fetched", "Give an http or https URL, or a file's path")
    try:
        return first_fetch(url, BlobStore(sources))
    except AllotmentError as error:
        raise AllotmentError(f"{url} can't be fetched: {error.what}", "Correct the URL, or try again") from error


PROFILE = """\
<<head>>[buildout]
parts = <<name>>

[<<name>>]
recipe = allotment.recipes:cmmi
description = <<description>>
version = <<version>>
licence = <<licence>>
purl = pkg:generic/<<name>>@<<version>>
url = <<url>>
<<debian>>sha256sum = <<sha256>>
"""
TEST = """\
from pathlib import Path

from allotment_recipes.testing import Release

PROFILE = Path(__file__).parent.parent / "components/<<name>>/buildout.cfg"


def test_it_is_built(release: Release) -> None:
    result = release.build(PROFILE.read_text(), timeout=1800)
    assert result.ok, result.error
    (built,) = (release.folder / "store").glob("<<name>>-*")
    assert any(path.is_file() for path in built.rglob("*"))
"""
