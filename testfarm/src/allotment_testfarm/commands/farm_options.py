# SPDX-License-Identifier: Apache-2.0
"""How commands that only read find a farm: by the URL of its pages, or by its folder on this machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from allotment.errors import AllotmentError

if TYPE_CHECKING:
    from allotment_testfarm.farm_client import FarmClient

F = TypeVar("F", bound=Callable[..., Any])


def farm_options(function: F) -> F:
    """Decorator: add ``--farm`` and ``--folder``; :func:`connect` takes what the command receives."""
    url = click.option("--farm", "url", envvar="ALLOTMENT_FARM", show_envvar=True, help="URL of the farm's pages.")
    folder = click.option(
        "--folder", type=click.Path(path_type=Path, exists=True), help="Folder of a farm on this machine, in its place."
    )
    return url(folder(function))


def connect(url: str | None, folder: Path | None) -> "FarmClient":
    """Return a client of the farm that the options name."""
    from allotment_testfarm.farm_client import FarmClient

    if folder is not None:
        return FarmClient(_url_of(folder))
    if not url:
        raise AllotmentError("no farm is named", "Give --farm URL or --folder, or set ALLOTMENT_FARM")
    return FarmClient(url)


def _url_of(folder: Path) -> str:
    """Return the URL that a farm's ready file says; an engine with a name has a file with it."""
    for ready in sorted(folder.glob("*farm.json")):
        try:
            return str(json.loads(ready.read_bytes())["url"])
        except (ValueError, KeyError, TypeError) as error:
            raise AllotmentError(f"{ready} is damaged", "Start the farm anew, or give --farm URL") from error
    raise AllotmentError(f"no farm runs in {folder}", "Start it with 'allot farm run', or give --farm URL")
