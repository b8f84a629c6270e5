# SPDX-License-Identifier: Apache-2.0
"""The run that processes an instance."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allotment.atomic import read_limited, write_bytes
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceRequests
from allotment_recipes.context import INPUT_LIMIT, RunContext, read_instance
from allotment_recipes.driver import Buildout
from allotment_recipes.journal import Journal, Unfinished
from allotment_recipes.providers.source_server import VARIABLE as SOURCE_SERVERS
from allotment_recipes.runs.folder_lock import locked
from allotment_recipes.runs.settings import run_settings
from allotment_recipes.subprofiles import uninstall_subprofiles, waiting_of_subprofiles
from allotment_recipes.tokens import Tokens, load_key


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
        buildout = Buildout(profile, context, run_settings(eggs=str(state / "eggs"), parts=str(state / "parts")))
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
        _tell(state, context, waiting)
        unfinished.end()
    except Exception as error:  # whatever it is, no token may be in its text
        if tokens.scrub(str(error)) != str(error):
            raise AllotmentError(tokens.scrub(str(error))) from None  # its traceback would show the token
        raise
    return {"waiting": list(waiting)}


def _forget_network() -> None:
    """Drop the machine's way to the network, perhaps with a password in it: it is no business of an instance."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ[SOURCE_SERVERS] = "off"


def _tell(state: Path, context: RunContext, waiting: tuple[str, ...]) -> None:
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
