# SPDX-License-Identifier: Apache-2.0
"""What the commands share: how they find a master, and how they show what it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from allotment.client import MasterClient
from allotment.codec import encode
from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.service import InstanceInfo
from allotment.secret import read_token


def master_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--master`` and ``--token-file``; the command receives ``master`` and ``token_file``."""
    token = click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="ALLOTMENT_TOKEN_FILE",
        show_envvar=True,
        help="File that holds your token.",
    )
    url = click.option("--master", envvar="ALLOTMENT_MASTER", show_envvar=True, help="URL of the master.")
    return url(token(function))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def connect(master: str | None, token_file: Path | None) -> MasterClient:
    """Return a client of the master that the options name."""
    if not master:
        raise AllotmentError("no master is named", "Give --master URL, or set ALLOTMENT_MASTER")
    if token_file is None:
        raise AllotmentError("no token is given", "Give --token-file FILE, or set ALLOTMENT_TOKEN_FILE")
    return MasterClient(master, read_token(token_file))


def show(items: Any) -> None:
    """Print messages as JSON; secrets are redacted."""
    click.echo(json.dumps(encode(items, redacted=True), indent=2))


def summary(info: InstanceInfo) -> str:
    """Return one line on an instance; ``allot service info`` shows all of a long error."""
    place = f" on {info.node}/{info.partition}" if info.node else ""
    url = info.published.get("url")
    address = f" at {url}" if isinstance(url, str) else ""
    first, *more = info.error.splitlines() or [""]
    error = f": {first}" if first else ""
    error += f" (and {len(more)} more)" if more else ""
    return f"{info.name}: {info.status}{place}{address}{error}"


def broken_promises(info: InstanceInfo) -> list[str]:
    """Return a line for each promise that is not kept."""
    return [f"  promise {item.name}: {item.message}" for item in info.promises if item.status != "passed"]


def is_settled(info: InstanceInfo) -> bool:
    """Whether an instance is as wanted, or failed: waiting longer needs a change."""
    return info.status in (
        InstanceStatus.GREEN,
        InstanceStatus.FAILED,
        InstanceStatus.STOPPED,
        InstanceStatus.DESTROYED,
    )
