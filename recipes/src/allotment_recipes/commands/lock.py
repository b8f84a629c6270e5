# SPDX-License-Identifier: Apache-2.0
"""``allot lock``: the sha256 of the sources that a profile pins by an MD5, or by nothing."""

import json
import tempfile
from pathlib import Path

import click

from allotment_recipes.commands.build_options import profile_of, root_option, sources_option, tree_root
from allotment_recipes.engine import BuildEngine
from allotment_recipes.follow import Follow

_TIMEOUT = 6 * 3600.0  # seconds


@click.command("lock")
@click.argument("path", type=click.Path(path_type=Path, exists=True), default=Path())
@root_option
@sources_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, root: Path | None, sources: Path | None, as_json: bool) -> None:
    """Fetch what PATH, a software.cfg or its folder, has no sha256 for, and record it in allot.lock beside it.

    What is recorded stays as it is: a source that has other bytes since is refused by builds, and is not recorded anew.
    """
    profile = profile_of(path)
    with tempfile.TemporaryDirectory(prefix="allot-lock-") as scratch:
        log = Path(scratch) / "lock.log"
        with BuildEngine() as engine, Follow(log, lambda data: click.echo(data, nl=False, err=True)):
            folder, cache = Path(scratch) / "release", (sources or Path("var", "sources")).absolute()
            found = engine.lock(profile, root or tree_root(profile), folder, cache, _TIMEOUT, log)
    if as_json:
        click.echo(json.dumps(vars(found), sort_keys=True))
        return
    click.echo(f"{profile.parent / 'allot.lock'}: {found.sources} sources, {found.new} new, {found.gone} gone")
