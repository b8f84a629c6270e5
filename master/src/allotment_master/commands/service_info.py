# SPDX-License-Identifier: Apache-2.0
"""``allot service info``: one instance, in full."""

import json
from pathlib import Path

import click

from allotment.codec import encode
from allotment.messages.service import InstanceInfo
from allotment_master.cli import connect, json_option, master_options, show


@click.command("info")
@click.argument("name")
@master_options
@json_option
def command(name: str, master: str | None, token_file: Path | None, as_json: bool) -> None:
    """Show the instance NAME."""
    with connect(master, token_file) as client:
        info = client.instance(name)
    if as_json:
        show(info)
    else:
        _describe(info)


def _describe(info: InstanceInfo) -> None:
    place = f"{info.node}/{info.partition}" if info.node else "none"
    lines = {
        "name": f"{info.name} ({info.instance})",
        "wanted": info.state,
        "status": info.status,
        "release": f"{info.release}, type {info.software_type}, manifest {info.manifest}",
        "place": f"{place}, generation {info.generation}",
        "error": info.error,
    }
    for word, text in lines.items():
        if text:
            click.echo(f"{word:<10}{text}")
    for key, value in sorted(encode(info.published, redacted=True).items()):
        click.echo(f"{'published':<10}{key} = {value if isinstance(value, str) else json.dumps(value)}")
    for promise in info.promises:
        silence = f" (silenced by {promise.silence})" if promise.silence else ""
        click.echo(f"{'promise':<10}{promise.name}: {promise.status}: {promise.message}{silence}")
