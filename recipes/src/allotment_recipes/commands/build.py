# SPDX-License-Identifier: Apache-2.0
"""``allot build``: a software release from its profile, and the manifest that says what it is."""

import json
import os
from pathlib import Path
from typing import NoReturn

import click

from allotment.codec import encode
from allotment.errors import AllotmentError, nearest
from allotment_recipes.build_steps import ENVIRONMENT
from allotment_recipes.engine import BuildEngine
from allotment_recipes.follow import Follow
from allotment_recipes.manifest import build_release


@click.command("build")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to install it. [default: var/build/<name>]")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Tree that holds all it reads. [default: above software/]"
)
@click.option("--sources", type=click.Path(path_type=Path), help="Source cache. [default: var/sources]")
@click.option("--store", type=click.Path(path_type=Path), help="Of parts that releases share. [default: var/store]")
@click.option("--shell", "part", metavar="PART", help="Enter the environment in which PART failed to build.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    path: Path | None,
    folder: Path | None,
    root: Path | None,
    sources: Path | None,
    store: Path | None,
    part: str | None,
    as_json: bool,
) -> None:
    """Build the release of PATH, a software.cfg or its folder, and write manifest.json beside what was built."""
    if path is None and (folder is None or part is None):
        raise click.UsageError("PATH is missing: give a software.cfg or its folder")
    profile = _profile(path or Path())
    folder = (folder or Path("var", "build", profile.parent.name)).absolute()
    if part is not None:
        _shell(part, folder)
    log = folder / "build.log"
    with BuildEngine() as engine, Follow(log, lambda data: click.echo(data, nl=False, err=True)):
        built = build_release(
            profile,
            root or tree_root(profile),
            folder,
            (sources or Path("var", "sources")).absolute(),
            engine,
            log,
            store=(store or Path("var", "store")).absolute(),
            progress=lambda line: click.echo(line, err=True),
        )
    manifest = built.manifest
    if as_json:
        paths = {"folder": str(folder), "closure": str(built.closure), "log": str(log)}
        document = {"sha256": manifest.sha256, "seconds": built.seconds, **paths, "manifest": encode(manifest)}
        click.echo(json.dumps(document, sort_keys=True))
        return
    click.echo(f"{manifest.name} {manifest.sha256}")
    click.echo(f"{folder / 'manifest.json'} ({built.seconds:.1f} s)")


def _profile(path: Path) -> Path:
    return (path / "software.cfg" if path.is_dir() else path).absolute()


def _shell(part: str, folder: Path) -> NoReturn:
    """Become a shell in the sources of a part, in the environment in which it was built."""
    note = folder / ".build" / part / ENVIRONMENT
    try:
        document = json.loads(note.read_bytes())
        os.chdir(document["folder"])
    except FileNotFoundError as error:
        left = [path.name for path in (folder / ".build").glob("*") if path.exists()]
        rule = "It stays when a build fails, or with 'keep-compile-dir = true' in its section"
        raise AllotmentError(
            f"no build folder of '{part}' is left in {folder}", nearest(part, left) if left else rule
        ) from error
    inherited = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    click.echo(f"{Path.cwd()}: leave with exit or Ctrl-D", err=True)
    os.execve("/bin/sh", ["sh"], {**inherited, **document["environment"], "PS1": f"{part}> "})


def tree_root(profile: Path) -> Path:
    """Return the folder that holds ``software/<name>/software.cfg``; elsewhere the profile's own folder."""
    folders = profile.parents
    return folders[2] if len(folders) > 2 and folders[1].name == "software" else folders[0]
