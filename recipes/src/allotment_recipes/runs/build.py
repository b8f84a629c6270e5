# SPDX-License-Identifier: Apache-2.0
"""Runs that build a software release, or find out what a build would do, or did."""

import contextlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import installed_parts, stores
from allotment_recipes.context import PARTS, RunContext
from allotment_recipes.distributions import took_part
from allotment_recipes.driver import Buildout
from allotment_recipes.explain import inputs
from allotment_recipes.graph.ahead import JOBS, Ahead
from allotment_recipes.graph.events import EVENTS
from allotment_recipes.journal import Journal
from allotment_recipes.leftovers import Leftovers
from allotment_recipes.option_error import ProfileError
from allotment_recipes.prefetch import prefetch
from allotment_recipes.runs.folder_lock import locked
from allotment_recipes.runs.settings import run_settings
from allotment_recipes.shared_store import Store, remove
from allotment_recipes.store import padded_root
from allotment_recipes.tokens import Tokens
from allotment_recipes.warm_start import WarmStart


def build(request: Mapping[str, Any]) -> dict[str, Any]:
    """Build a software release; parts that are done stay, also when a later one fails."""
    folder = Path(request["folder"])
    closure = Path(request["closure"])
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        return _build(folder, closure, request)


def _build(folder: Path, closure: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    for name in (PARTS, EVENTS):
        (folder / name).unlink(missing_ok=True)
    shared = Path(request["store"]) if request.get("store") else None
    _sweep(folder, shared)
    warm = WarmStart(folder, request)
    if (known := warm.answer()) is not None:
        sys.stdout.write("Nothing has changed since the last build.\n")
        return known
    warm.forget()
    buildout = _prepared(folder, closure, shared, request)
    now, is_done = inputs.entries(buildout), False
    leftovers = Leftovers(folder, buildout.run.journal)
    recipes = [buildout[name]["recipe"] for name in buildout._parts]
    try:
        stores.register(buildout)
        prefetch((buildout[name].recipe for name in buildout._parts), BlobStore(buildout.run.sources))
        with contextlib.closing(_ahead(buildout, request)) as buildout.ahead:
            buildout.run_parts()
        stores.settle(buildout)
        is_done = True
    finally:
        if buildout._installed:
            buildout.save()
            leftovers.forget({part for part, _ in installed_parts.read(Path(buildout["buildout"]["installed"]))})
        inputs.record(folder, now, _closure_hash(closure), is_done=is_done)
    leftovers.clear(buildout.recorded())
    parts = {name: part["hash"] for name, part in now.items()}
    result = {"parts": parts, "distributions": took_part(recipes)}
    warm.note(buildout, result)
    return result


def _prepared(folder: Path, closure: Path, shared: Path | None, request: Mapping[str, Any]) -> Buildout:
    """Return the driver of a release's build when the constructors of all parts have run."""
    context = RunContext(
        folder, Journal(immediate=True), Path(request["sources"]), Tokens(b""), closure, shared,
        stores=tuple(map(Path, request.get("stores", ()))), caches=tuple(request.get("caches", ())),
        compiler=request.get("compiler", ""),
    )  # fmt: skip
    buildout = Buildout(closure / request["profile"], context, run_settings(development=request["development"]))
    buildout.prepare_parts()
    if buildout.waiting:
        raise ProfileError(
            buildout.waiting_parts()[0], "A software release can't wait: request children in an instance"
        )
    return buildout


def survey(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a build would find of each part; nothing is built."""
    from allotment_recipes.explain.survey import survey

    folder, shared = Path(request["folder"]), Path(request["store"]) if request.get("store") else None
    was_there = folder.exists()
    try:
        return survey(_prepared(folder, Path(request["closure"]), shared, request))
    finally:
        if not was_there:  # upstream makes a folder for eggs
            with contextlib.suppress(OSError):
                (folder / "eggs").rmdir()
                folder.rmdir()


def check(request: Mapping[str, Any]) -> dict[str, Any]:
    """Build parts of a release that was built again, and return how they differ; the release stays as it is."""
    from allotment_recipes.hermetic.rebuild import build_again

    folder, shared = Path(request["folder"]), Path(request["store"]) if request.get("store") else None
    with locked(folder / ".lock"):
        buildout = _prepared(folder, Path(request["closure"]), shared, request)
        return {"parts": build_again(buildout, request["parts"])}


def _closure_hash(closure: Path) -> str:
    """Return the sha256 of the archive that was unpacked to ``closure``; nothing for profiles of another origin."""
    mark = closure.with_name(".closure-sha256")
    return mark.read_text() if mark.is_file() else ""


def _ahead(buildout: Buildout, request: Mapping[str, Any]) -> Ahead:
    return Ahead(buildout, request.get("jobs", 0), keep_going=request.get("keep_going", False))


def _sweep(folder: Path, shared: Path | None) -> None:
    """Remove what a build that was killed has left."""
    remove(folder / JOBS)
    for half_written in (*folder.glob(".*.new"), *folder.glob(".build/.*.new")):
        if half_written.is_file():
            half_written.unlink()
    for leftover in (folder / "store").glob(".*-*"):
        if leftover.suffix != ".new":
            shutil.rmtree(leftover)
    Store(folder / "store").sweep()
    if shared is not None:
        try:
            root = padded_root(shared)
        except AllotmentError:  # its path is too long: nothing was ever built there
            return
        Store(root).sweep()
