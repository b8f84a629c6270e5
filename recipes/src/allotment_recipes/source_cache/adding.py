# SPDX-License-Identifier: Apache-2.0
"""Put bytes that nobody has pinned yet into the source cache, and say how a profile pins them."""

import re
import tempfile
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment_recipes import commit_lock
from allotment_recipes.providers.url import shown
from allotment_recipes.source_cache import notes
from allotment_recipes.source_cache.first_fetch import first_fetch
from allotment_recipes.source_options import file_name


@dataclass(frozen=True)
class Added:
    """What is in the source cache now; ``options`` are those of a section that pins it."""

    name: str
    sha256: str
    size: int  # bytes
    options: dict[str, str]


def add(place: str, blobs: BlobStore) -> Added:
    """Take a file's bytes, or what is at an http or https address."""
    is_url = "://" in place
    path = Path(place)
    if not is_url and not path.is_file():
        raise AllotmentError(f"{place} is no file and no address", "Give a file, a URL, or a git URL with --revision")
    if is_url and shown(place) != place:
        raise AllotmentError(f"{shown(place)} is written with a name or password", "Profiles must not tell it")
    if is_url and urllib.parse.urlsplit(place).scheme not in ("http", "https", "file"):
        raise AllotmentError(f"{place} can't be fetched", "Give http, https or file, or a git URL with --revision")
    try:
        sha256 = first_fetch(place if is_url else path.absolute().as_uri(), blobs)
    except AllotmentError as error:
        raise AllotmentError(f"{place}: {error.what}", error.fix or "Correct it, or try again") from error
    name = file_name(place) if is_url else path.name
    notes.note(blobs, sha256, name)
    url = place.partition("#")[0] if is_url else f"${{:_profile_base_location_}}/{path.name}"
    options = {"url": url.replace("${", "$${") if is_url else url, "sha256sum": sha256}
    return Added(name, sha256, blobs.path(sha256).stat().st_size, options)


def add_git(
    repository: str, revision: str, blobs: BlobStore, *, submodules: bool = False, sparse: Sequence[str] = ()
) -> Added:
    """Take the tree of a commit; ``revision`` may be a tag, a branch, or a part of the commit's id."""
    from allotment_recipes.recipes.gitclone import Recipe

    commit = revision if commit_lock.is_whole(revision) else commit_lock.resolve(repository, revision)
    options = {"repository": repository, "revision": commit}
    options |= {"submodules": "true"} if submodules else {}
    options |= {"sparse-checkout": "\n".join(sparse)} if sparse else {}
    with tempfile.TemporaryDirectory(prefix="allotment-add-") as folder:
        place = Path(folder, "tree")
        place.mkdir()
        buildout = {"buildout": {"directory": str(Path.cwd()), "download-cache": str(blobs.folder)}}
        try:
            sha256 = Recipe(buildout, "tree", dict(options)).keep_tree(place)
        except AllotmentError as error:
            kind = MachineError if isinstance(error, MachineError) else AllotmentError
            what = error.what.removeprefix("[tree] ")
            raise kind(f"{shown(repository)}: {what}", error.fix or "Correct it, or try again") from error
    options["tree-sha256"] = sha256
    return Added(f"{file_name(repository)} {commit[:12]}", sha256, blobs.path(sha256).stat().st_size, options)


def is_repository(place: str) -> bool:
    """Whether it looks like an address of a git repository, and not of a file."""
    address = place.removeprefix("git+")
    is_ssh = re.match(r"(ssh|git)://|[\w.-]+@[\w.-]+:", address) is not None
    return is_ssh or place != address or address.rstrip("/").endswith(".git") or Path(address, ".git").exists()
