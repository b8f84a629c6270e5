# SPDX-License-Identifier: Apache-2.0
"""``allot service list``: what instances there are."""

from pathlib import Path

import click

from allotment.terminal import table
from allotment_master.cli import connect, json_option, master_options, show


@click.command("list")
@master_options
@json_option
def command(master: str | None, token_file: Path | None, as_json: bool) -> None:
    """List instances."""
    with connect(master, token_file) as client:
        found = client.instances()
    if as_json:
        show(found)
        return
    rows = [("NAME", "STATUS", "RELEASE", "TYPE", "PLACE", "URL")]
    for info in found:
        place = f"{info.node}/{info.partition}" if info.node else "none"
        url = info.published.get("url")
        address = url if isinstance(url, str) else ""
        rows.append((info.name, info.status, _short(info.release), info.software_type, place, address))
    table(rows, "No instance was requested. 'allot request NAME RELEASE' asks for one.")


def _short(release: str) -> str:
    """Return a release's name, or the first digits of a manifest's sha256: a child has that of its parent."""
    return release[:12] if len(release) == 64 else release
