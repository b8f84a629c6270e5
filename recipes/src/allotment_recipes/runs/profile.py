# SPDX-License-Identifier: Apache-2.0
"""Runs that build nothing of a software profile: they read it, record its sources, or tell and fetch what it wants."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.journal import Journal
from allotment_recipes.named_files import named_files
from allotment_recipes.runs.settings import run_settings
from allotment_recipes.tokens import Tokens


def read(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a software profile without running its recipes; returns the profiles read and the files that they name."""
    folder = Path(request["folder"])
    context = RunContext(folder, Journal(immediate=True), Path(request["sources"]), Tokens(b""))
    buildout = Buildout(Path(request["profile"]), context, run_settings())
    sections = {
        name: buildout.Options(buildout, name, raw)._do_extend_raw(name, raw, []) for name, raw in buildout._raw.items()
    }
    named = sorted(map(str, named_files(sections)))
    return {"profiles": [os.path.normpath(path) for path in buildout.files], "named": named}


def lock(request: Mapping[str, Any]) -> dict[str, Any]:
    """Record the sha256 of a software profile's sources in the file beside it; nothing is built."""
    folder, profile = Path(request["folder"]), Path(request["profile"])
    blobs = BlobStore(Path(request["sources"]))
    context = RunContext(folder, Journal(immediate=True), blobs.folder, Tokens(b""), Path(request["closure"]))
    buildout = Buildout(profile, context, run_settings(), records=True)
    buildout.prepare_parts()
    return vars(buildout.lock.record(blobs))


def sources(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the parts of a software profile want of the source cache; bring it there when that is asked for."""
    from allotment_recipes.source_cache import wanted

    folder, blobs = Path(request["folder"]), BlobStore(Path(request["sources"]))
    context = RunContext(folder, Journal(immediate=True), blobs.folder, Tokens(b""), Path(request["closure"]))
    settings = run_settings()
    (folder / settings["eggs-directory"]).mkdir(parents=True, exist_ok=True)  # else buildout tells the user of it
    buildout = Buildout(Path(request["profile"]), context, settings)
    buildout.prepare_parts()
    found = list(wanted.wanted_of(buildout[name].recipe for name in buildout._parts))
    error = wanted.fetch(found, blobs) if request["fetch"] else ""
    return {"wanted": [item.described(blobs) for item in found], "lost": error}
