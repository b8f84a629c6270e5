# SPDX-License-Identifier: Apache-2.0
"""``allot build``: a software release from its profile, and the manifest that says what it is."""

import json
from pathlib import Path

import click

from allotment.codec import encode
from allotment_recipes.commands.build_options import build_options, caches_of, profile_of, tree_root
from allotment_recipes.engine import BuildEngine
from allotment_recipes.graph.chart import charted
from allotment_recipes.graph.progress import shown
from allotment_recipes.manifest import BuiltRelease, build_release


@click.command("build")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.argument("parts", nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to install it. [default: var/build/<name>]")
@build_options
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
    """Build the release of PATH, a software.cfg or its folder, and write manifest.json beside what was built.

    A component is built the same way: components/zlib.
    """
    if path is None and (folder is None or part is None):
        more = ", or --folder of the release that failed" if part is not None else ""
        raise click.UsageError(f"PATH is missing: give a software.cfg or its folder{more}")
    if parts and not is_check:
        raise click.UsageError("PARTS are for --check")
    if [is_check, is_plan, part is not None].count(True) > 1:
        raise click.UsageError("--check, --plan and --shell are three things: ask for one at a time")
    profile = profile_of(path or Path())
    folder = (folder or Path("var", "build", profile.parent.name)).absolute()
    if part is not None:
        from allotment_recipes.hermetic.shell import enter

        enter(part, folder, lambda line: click.echo(line, err=True))
    root, caches, jobs = root or tree_root(profile), caches_of(urls), jobs or 0
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


def _tell(built: BuiltRelease, folder: Path, log: Path, *, as_json: bool) -> None:
    manifest = built.manifest
    if as_json:
        paths = {"folder": str(folder), "closure": str(built.closure), "log": str(log)}
        document = {"sha256": manifest.sha256, "seconds": built.seconds, **paths, "manifest": encode(manifest)}
        click.echo(json.dumps(document, sort_keys=True))
        return
    click.echo(f"{manifest.name} {manifest.sha256}")
    click.echo(f"{folder / 'manifest.json'} ({built.seconds:.1f} s)")
