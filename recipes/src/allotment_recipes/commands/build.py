# SPDX-License-Identifier: Apache-2.0
"""``allot build``: a software release from its profile, and the manifest that says what it is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from allotment.codec import encode
from allotment_recipes.engine import BuildEngine
from allotment_recipes.graph.chart import charted
from allotment_recipes.graph.progress import shown
from allotment_recipes.manifest import BuiltRelease, build_release


def _ask_first(context: click.Context, option: click.Parameter, servers: tuple[str, ...]) -> None:
    from allotment_recipes.providers.source_server import ask_first

    ask_first(servers)


source_server = click.option(
    "--source-server", multiple=True, metavar="URL", expose_value=False, callback=_ask_first,
    help="Another machine's source cache to ask first.",
)  # fmt: skip


@click.command("build")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.argument("parts", nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to install it. [default: var/build/<name>]")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Tree that holds all it reads. [default: above software/]"
)
@click.option("--sources", type=click.Path(path_type=Path), help="Source cache. [default: var/sources]")
@click.option("--store", type=click.Path(path_type=Path), help="Of parts that releases share. [default: var/store]")
@click.option(
    "--system-store", "systems", type=click.Path(path_type=Path), multiple=True, help="A further store, only read."
)
@source_server
@click.option("--cache", "urls", metavar="URL", multiple=True, help="Binary cache to take parts from; in order.")
@click.option("--jobs", type=click.IntRange(1), help="Commands at the same time. [default: one a core]")
@click.option("--keep-going", is_flag=True, help="After a failure, build all that doesn't depend on it.")
@click.option("--chart", type=click.Path(path_type=Path), help="Draw which part was at work when, as SVG.")
@click.option("--shell", "part", metavar="PART", help="Enter the environment in which PART failed to build.")
@click.option("--check", "is_check", is_flag=True, help="Build PARTS, or all, again, and show what isn't the same.")
@click.option("--plan", "is_plan", is_flag=True, help="Tell what would be built, fetched or reused, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    path: Path | None,
    parts: tuple[str, ...],
    folder: Path | None,
    root: Path | None,
    sources: Path | None,
    store: Path | None,
    systems: tuple[Path, ...],
    urls: tuple[str, ...],
    jobs: int | None,
    keep_going: bool,
    chart: Path | None,
    part: str | None,
    is_check: bool,
    is_plan: bool,
    as_json: bool,
) -> None:
    """Build the release of PATH, a software.cfg or its folder, and write manifest.json beside what was built."""
    if path is None and (folder is None or part is None):
        raise click.UsageError("PATH is missing: give a software.cfg or its folder")
    if parts and not is_check:
        raise click.UsageError("PARTS are for --check")
    profile = profile_of(path or Path())
    folder = (folder or Path("var", "build", profile.parent.name)).absolute()
    if part is not None:
        from allotment_recipes.hermetic.shell import enter

        enter(part, folder, lambda line: click.echo(line, err=True))
    root, caches, jobs = root or tree_root(profile), _caches(urls), jobs or 0
    sources, store = (sources or Path("var", "sources")).absolute(), (store or Path("var", "store")).absolute()
    if is_plan:
        from allotment_recipes.explain.planning import tell_plan

        places = (profile, root, folder, sources, store)
        tell_plan(*places, as_json=as_json, stores=systems, caches=caches, jobs=jobs)
        return
    log = folder / "build.log"
    with BuildEngine() as engine, charted(chart, folder), shown(folder, log) as say:
        built = build_release(
            profile, root, folder, sources, engine, log,
            store=store, stores=systems, caches=caches, jobs=jobs, keep_going=keep_going, progress=say,
        )  # fmt: skip
        if is_check:
            from allotment_recipes.hermetic.checking import check, tell

            found = check(built, folder, sources, engine, parts, log, store=store, stores=systems)
    if is_check:
        click.get_current_context().exit(0 if tell(found, as_json=as_json) else 1)
    _tell(built, folder, log, as_json=as_json)


def _caches(urls: tuple[str, ...]) -> Sequence[Mapping[str, Any]]:
    if not urls:
        return ()
    from allotment_recipes.binary_cache.keys import trusted_caches

    return trusted_caches(urls)


def _tell(built: BuiltRelease, folder: Path, log: Path, *, as_json: bool) -> None:
    manifest = built.manifest
    if as_json:
        paths = {"folder": str(folder), "closure": str(built.closure), "log": str(log)}
        document = {"sha256": manifest.sha256, "seconds": built.seconds, **paths, "manifest": encode(manifest)}
        click.echo(json.dumps(document, sort_keys=True))
        return
    click.echo(f"{manifest.name} {manifest.sha256}")
    click.echo(f"{folder / 'manifest.json'} ({built.seconds:.1f} s)")


def profile_of(path: Path) -> Path:
    """Return the software.cfg that is meant by its path or its folder's."""
    return (path / "software.cfg" if path.is_dir() else path).absolute()


def tree_root(profile: Path) -> Path:
    """Return the folder that holds ``software/<name>/software.cfg``; elsewhere the profile's own folder."""
    folders = profile.parents
    return folders[2] if len(folders) > 2 and folders[1].name == "software" else folders[0]
