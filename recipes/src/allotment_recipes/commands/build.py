# SPDX-License-Identifier: Apache-2.0
"""``allot build``: a software release from its profile, and the manifest that says what it is."""

import json
from pathlib import Path

import click

from allotment.codec import encode
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import build_release


@click.command("build")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path), help="Where to install it. [default: var/build/<name>]")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Tree that holds all it reads. [default: above software/]"
)
@click.option("--sources", type=click.Path(path_type=Path), help="Source cache. [default: var/sources]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, folder: Path | None, root: Path | None, sources: Path | None, as_json: bool) -> None:
    """Build the release of PATH, a software.cfg or its folder, and write manifest.json beside what was built."""
    profile = (path / "software.cfg" if path.is_dir() else path).absolute()
    folder = (folder or Path("var", "build", profile.parent.name)).absolute()
    log = folder / "build.log"
    with BuildEngine() as engine:
        built = build_release(
            profile,
            root or tree_root(profile),
            folder,
            (sources or Path("var", "sources")).absolute(),
            engine,
            log,
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


def tree_root(profile: Path) -> Path:
    """Return the folder that holds ``software/<name>/software.cfg``; elsewhere the profile's own folder."""
    folders = profile.parents
    return folders[2] if len(folders) > 2 and folders[1].name == "software" else folders[0]
