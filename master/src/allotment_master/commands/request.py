# SPDX-License-Identifier: Apache-2.0
"""``allot request``: ask for an instance, and wait for it."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from allotment.client import MasterClient
from allotment.codec import Json
from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.messages.service import InstanceInfo
from allotment_master.cli import broken_promises, connect, is_settled, json_option, master_options, show, summary

_SHA256 = re.compile(r"[0-9a-f]{64}")
_POLL = 20.0  # seconds of one wait for events


@click.command("request")
@click.argument("name")
@click.argument("release")
@click.option("--type", "software_type", default=DEFAULT_TYPE, show_default=True, help="Software type.")
@click.option("--param", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter; secrets belong in a file.")
@click.option("--parameters-file", type=click.Path(path_type=Path, dir_okay=False), help="JSON object of parameters.")
@click.option("--sla", "constraints", multiple=True, metavar="KEY=VALUE", help="Where, such as node=NAME.")
@click.option("--wait", is_flag=True, help="Wait until it is green or failed.")
@click.option("--timeout", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds to wait.")
@master_options
@json_option
def command(
    name: str,
    release: str,
    software_type: str,
    pairs: tuple[str, ...],
    parameters_file: Path | None,
    constraints: tuple[str, ...],
    wait: bool,
    timeout: float,
    master: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Request the instance NAME of RELEASE; the same again changes what differs."""
    with connect(master, token_file) as client:
        texts = _split(pairs, "--param")
        parameters = _read(parameters_file) if parameters_file else {}
        schema = _schema(client, release, software_type) if texts else {}
        parameters.update({key: _typed(text, schema.get(key)) for key, text in texts.items()})
        sla = _split(constraints, "--sla")
        info = client.request(name, release, software_type, parameters, sla=sla)
        if not as_json:
            click.echo(summary(info))
        if wait:
            info = wait_settled(client, info, timeout, say=not as_json)
    if as_json:
        show(info)
    if wait:
        refuse_failed(info)


def wait_settled(client: MasterClient, info: InstanceInfo, timeout: float, say: bool) -> InstanceInfo:
    """Follow an instance by the master's events until it is as wanted or failed; too long is an error that says why."""
    end = time.monotonic() + timeout
    seen = client.last_event() if not is_settled(info) else 0
    shown = summary(info)
    while not is_settled(info):
        info = client.instance(info.name)
        if say and summary(info) != shown:
            shown = summary(info)
            click.echo(shown)
        left = end - time.monotonic()
        if is_settled(info):
            break
        if left <= 0:
            lines = [f"{info.name} is not ready after {timeout:g} s: it is {info.status}. {info.error}".strip(" .")]
            raise AllotmentError(
                "\n".join([*lines, *broken_promises(info)]), f"Look at 'allot service info {info.name}'"
            )
        found = client.events(seen, min(left, _POLL))
        seen = found[-1].id if found else seen
    return info


def refuse_failed(info: InstanceInfo) -> None:
    """Make an error of an instance that failed, with the messages of its promises."""
    if info.status is InstanceStatus.FAILED:
        raise AllotmentError("\n".join([f"{info.name} failed: {info.error}", *broken_promises(info)]))


def _split(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise click.UsageError(f"{option} {pair!r} is not KEY=VALUE")
        found[key] = value
    return found


def _read(path: Path) -> dict[str, Json]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AllotmentError(f"{path} can't be read: {error}", "Give a file that holds a JSON object") from error
    if not isinstance(data, dict):
        raise AllotmentError(f"{path} does not hold a JSON object", 'Write it like {"key": "value"}')
    return data


def _schema(client: MasterClient, release: str, software_type: str) -> Mapping[str, Any]:
    """Return the properties of a release's parameters, nothing when they are not known: the master judges."""
    sha256 = release if _SHA256.fullmatch(release) else None
    if sha256 is None:
        sha256 = next((item.manifest for item in client.releases() if item.name == release), None)
    if sha256 is None:
        return {}
    kind = client.get_manifest(sha256).manifest.software_type(software_type)
    parameters = kind.parameters if kind else {}
    properties = parameters.get("properties", {}) if isinstance(parameters, Mapping) else {}
    return properties if isinstance(properties, Mapping) else {}


def _typed(text: str, schema: Any) -> Json:
    """Return a parameter's text as what its schema asks for; text when that is not clear."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "string" or (isinstance(kind, list) and "string" in kind):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
