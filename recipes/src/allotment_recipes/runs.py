# SPDX-License-Identifier: Apache-2.0
"""The kinds of buildout run, each done in a process of its own: build, instance, lock, and only reading a profile.

Each takes and returns plain JSON data; ``zygote`` calls them in its forks, ``engine`` asks for them.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zc.buildout

from allotment.atomic import read_limited, write_bytes
from allotment.blobs import BlobStore
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError, MachineError
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceRequests
from allotment_recipes import installed_parts, stores
from allotment_recipes.context import INPUT_LIMIT, PARTS, RunContext, read_instance
from allotment_recipes.distributions import took_part
from allotment_recipes.driver import Buildout
from allotment_recipes.explain import inputs
from allotment_recipes.free_space import FULL
from allotment_recipes.graph.ahead import JOBS, Ahead
from allotment_recipes.graph.events import EVENTS
from allotment_recipes.journal import Journal, Unfinished
from allotment_recipes.leftovers import Leftovers
from allotment_recipes.named_files import named_files
from allotment_recipes.option_error import ProfileError
from allotment_recipes.prefetch import prefetch
from allotment_recipes.providers.source_server import VARIABLE as SOURCE_SERVERS
from allotment_recipes.recipes.python_scripts import base_python
from allotment_recipes.shared_store import Store, remove
from allotment_recipes.store import padded_root
from allotment_recipes.subprofiles import uninstall_subprofiles, waiting_of_subprofiles
from allotment_recipes.tokens import Tokens, load_key
from allotment_recipes.warm_start import WarmStart


def run(kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one run; every failure becomes ``{"error": text}``, a recipe's bug with its traceback in the log."""
    try:
        return _KINDS[kind](request)
    except MachineError as error:
        return {"error": str(error), "cause": "machine"}
    except (AllotmentError, zc.buildout.UserError) as error:
        return {"error": str(error)}
    except OSError as error:
        what = f"{error.filename or type(error).__name__}: {error.strerror or error}"
        if error.errno in FULL:
            return {"error": f"{what}. Make space and build again: what is whole is kept.", "cause": "machine"}
        traceback.print_exc()
        return {"error": what}
    except Exception as error:  # a recipe may fail in any way: said in one line here, in full in the log
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


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
    buildout = Buildout(closure / request["profile"], context, _settings(development=request["development"]))
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


def instance(request: Mapping[str, Any]) -> dict[str, Any]:
    """Process an instance: files are written, requests and published values told, only when all went well."""
    folder = Path(request["partition"])
    given = read_instance(folder)
    if given is None:
        raise AllotmentError(f"{folder}/.allotment/instance.json does not exist", "The node writes it before the run")
    with locked(folder / ".allotment" / "lock"):
        _forget_network()
        return _process(folder, given, request)


def _process(folder: Path, given: InstanceInput, request: Mapping[str, Any]) -> dict[str, Any]:
    state = folder / ".allotment"
    tokens = Tokens(load_key(state / "tokens.key"))
    context = RunContext(folder, Journal(immediate=False), state / "sources", tokens, instance=given)
    try:
        profile = Path(request["software"]) / request["profile"]
        buildout = Buildout(profile, context, _settings(eggs=str(state / "eggs"), parts=str(state / "parts")))
        unfinished = Unfinished(state / "unfinished.json")
        context.journal.before_flush = lambda: unfinished.begin(context.journal, is_complete=False)
        buildout.run_parts()
        waiting = (*buildout.waiting_parts(), *waiting_of_subprofiles(context))
        if not waiting:
            uninstall_subprofiles(buildout)
        profile_runs = (buildout, *context.subprofiles)
        recorded = {path for profile_run in profile_runs for path in profile_run.recorded()}
        unfinished.begin(context.journal, recorded, is_complete=not waiting)
        context.journal.apply()
        for profile_run in profile_runs:
            if profile_run._installed:
                profile_run.save()
        tell(state, context, waiting)
        unfinished.end()
    except Exception as error:
        if tokens.scrub(str(error)) != str(error):
            raise AllotmentError(tokens.scrub(str(error))) from None
        raise
    return {"waiting": list(waiting)}


def _forget_network() -> None:
    """Drop the machine's way to the network, perhaps with a password in it: it is no business of an instance."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ[SOURCE_SERVERS] = "off"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; two runs in one folder would undo each other."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise AllotmentError(f"{path} can't be opened: {error.strerror}", "It must be a regular file") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AllotmentError(f"another run is at work in {path.parent}", "Wait until it has ended") from None
        yield
    finally:
        os.close(handle)


def tell(state: Path, context: RunContext, waiting: tuple[str, ...]) -> None:
    """Write ``requests.json`` and ``published.json``; a partial run takes nothing back that was published before.

    Errors are those of this run, also when it is partial: one that was mended must not stay.
    """
    requests = InstanceRequests(not waiting, tuple(context.requests.values()), waiting)
    values, shared = context.published, context.published_shared
    if waiting:
        earlier = _published_before(state / "published.json")
        values = {**earlier.values, **values}
        shared = {key: {**earlier.shared.get(key, {}), **shared.get(key, {})} for key in {**earlier.shared, **shared}}
    scrub = context.tokens.scrub
    shared_errors = {name: tuple(map(scrub, texts)) for name, texts in context.shared_errors.items()}
    published = InstancePublished(values, shared, tuple(map(scrub, context.errors)), shared_errors)
    write_bytes(state / "published.json", dumps(published), 0o600, sync=False)
    write_bytes(state / "requests.json", dumps(requests), 0o600, sync=False)


def _published_before(path: Path) -> InstancePublished:
    """Return what earlier runs published; of a file that a loss of power or a service has damaged, nothing."""
    try:
        data = read_limited(path, INPUT_LIMIT)
        return loads(InstancePublished, data) if data is not None else InstancePublished()
    except AllotmentError as error:
        logging.getLogger("zc.buildout").warning("%s is damaged (%s): it is made again", path, error.what)
        return InstancePublished()


def read(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read a software profile without running its recipes; returns the profiles read and the files that they name."""
    folder = Path(request["folder"])
    context = RunContext(folder, Journal(immediate=True), Path(request["sources"]), Tokens(b""))
    buildout = Buildout(Path(request["profile"]), context, _settings())
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
    buildout = Buildout(profile, context, _settings(), records=True)
    buildout.prepare_parts()
    return vars(buildout.lock.record(blobs))


def sources(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the parts of a software profile want of the source cache; bring it there when that is asked for."""
    from allotment_recipes.source_cache import wanted

    folder, blobs = Path(request["folder"]), BlobStore(Path(request["sources"]))
    context = RunContext(folder, Journal(immediate=True), blobs.folder, Tokens(b""), Path(request["closure"]))
    settings = _settings()
    (folder / settings["eggs-directory"]).mkdir(parents=True, exist_ok=True)  # else buildout tells the user of it
    buildout = Buildout(Path(request["profile"]), context, settings)
    buildout.prepare_parts()
    found = list(wanted.wanted_of(buildout[name].recipe for name in buildout._parts))
    error = wanted.fetch(found, blobs) if request["fetch"] else ""
    return {"wanted": [item.described(blobs) for item in found], "lost": error}


def _settings(*, development: bool = False, eggs: str = "eggs", parts: str = "parts") -> dict[str, str]:
    return {
        "allow-picked-versions": "true" if development else "false",
        "eggs-directory": eggs,
        "eggs-directory-version": "",
        "parts-directory": parts,
        "executable": base_python(),
    }


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "build": build,
    "survey": survey,
    "check": check,
    "instance": instance,
    "read": read,
    "lock": lock,
    "sources": sources,
}
