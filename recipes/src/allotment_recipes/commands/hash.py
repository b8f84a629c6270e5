# SPDX-License-Identifier: Apache-2.0
"""``allot hash``: the checksums that profiles give of the files beside them."""

import json
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment_recipes.lint import hashes
from allotment_recipes.lint.find import profiles
from allotment_recipes.lint.rules import relative


@click.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Compare the checksums of patches, templates and other files with the files. [default: this folder]"""
    found = [item for path in profiles(paths or (Path(),)) for item in hashes.checksums(path)]
    wrong = [item for item in found if not item.is_right]
    if as_json:
        click.echo(json.dumps({"checksums": len(found), "wrong": [_document(item) for item in wrong]}))
    else:
        for problem in relative([item.problem for item in wrong], Path.cwd()):
            click.echo(str(problem))
    if wrong:
        raise AllotmentError(f"{len(wrong)} of {len(found)} checksums are wrong", "Run 'allot hash update'")
    if not as_json:
        click.echo(f"{len(found)} checksums are right")


@click.command("update")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def update_command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Write the right checksums into the profiles; comments and all else stay as they are. [default: this folder]"""
    changed = [item for path in profiles(paths or (Path(),)) for item in hashes.update(path)]
    if as_json:
        click.echo(json.dumps({"changed": [_document(item) for item in changed]}))
        return
    for item in changed:
        click.echo(f"{item.path}:{item.line}: [{item.section}] {item.file.name}: {item.actual}")
    click.echo(f"{len(changed)} checksums changed")


def _document(item: hashes.Checksum) -> dict[str, object]:
    fields = {"line": item.line, "section": item.section, "file": str(item.file)}
    return {"path": str(item.path), **fields, "written": item.written, "actual": item.actual}
