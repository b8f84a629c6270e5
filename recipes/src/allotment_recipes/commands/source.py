# SPDX-License-Identifier: Apache-2.0
"""``allot source``: fill the source cache before a release is built, pin what is new, see what is there, serve it."""

import json
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.commands.build_options import (
    profile_of,
    root_option,
    source_server_option,
    sources_option,
    tree_root,
)
from allotment_recipes.commands.store_options import size_text
from allotment_recipes.engine import BuildEngine
from allotment_recipes.follow import Follow
from allotment_recipes.providers.url import shown

_TIMEOUT: Final = 6 * 3600.0  # seconds
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command("fetch")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--all", "is_all", is_flag=True, help="Of every release below software/ of this folder.")
@source_server_option
@root_option
@sources_option
@_json
def fetch_command(
    paths: tuple[Path, ...], is_all: bool, root: Path | None, sources: Path | None, as_json: bool
) -> None:
    """Bring all that the releases of PATHS, software.cfg or their folders, are built from; nothing is built."""
    blobs = _blobs(sources)
    releases = _survey(_profiles(paths, is_all=is_all), root, blobs, fetch=True)
    lost = [f"{name}: {release['lost']}" for name, release in releases.items() if release["lost"]]
    if as_json:
        click.echo(json.dumps({"releases": releases}, sort_keys=True))
    else:
        for name, release in releases.items():
            here = [item for item in release["wanted"] if item["size"] is not None]
            total = size_text(sum({item["pin"]: item["size"] for item in here}.values()))
            click.echo(f"{name}: {len(here)} of {len(release['wanted'])} sources, {total}")
    if lost:
        raise AllotmentError("\n".join(lost).removesuffix("."), "What could be had is there: call it again")


@click.command("list")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--all", "is_all", is_flag=True, help="Of every release below software/ of this folder.")
@click.option("--missing", is_flag=True, help="Only what is not there.")
@root_option
@sources_option
@_json
def list_command(
    paths: tuple[Path, ...], is_all: bool, missing: bool, root: Path | None, sources: Path | None, as_json: bool
) -> None:
    """List what the releases of PATHS want, and what of it is not there; without PATHS, all that is in the cache."""
    blobs = _blobs(sources)
    if not paths and not is_all:
        if missing:
            raise click.UsageError("--missing is asked of releases: give their PATHS, or --all")
        _list_cache(blobs, as_json=as_json)
        return
    releases = _survey(_profiles(paths, is_all=is_all), root, blobs, fetch=False)
    if missing:
        for release in releases.values():
            release["wanted"] = [item for item in release["wanted"] if item["size"] is None]
    if as_json:
        click.echo(json.dumps({"releases": releases}, sort_keys=True))
        return
    for name, release in releases.items():
        click.echo(f"{name}:" if release["wanted"] else f"{name}: {'nothing is missing' if missing else 'no sources'}")
        for item in release["wanted"]:
            size = "missing" if item["size"] is None else size_text(item["size"])
            click.echo(f"  {item['part']:20} {item['kind']:6} {size:>8}  {item['name']}")


@click.command("add")
@click.argument("place", metavar="FILE|URL")
@click.option("--revision", metavar="COMMIT", help="Of a git repository: the commit, a tag or a branch to take now.")
@click.option("--submodules", is_flag=True, help="Of a git repository: take them too.")
@click.option("--sparse-checkout", "sparse", multiple=True, metavar="PATTERN", help="Of a git repository: only these.")
@sources_option
@_json
def add_command(
    place: str, revision: str | None, submodules: bool, sparse: tuple[str, ...], sources: Path | None, as_json: bool
) -> None:
    """Put a file, what a URL brings, or the tree of a git commit into the source cache; print the lines that pin it."""
    from allotment_recipes.source_cache import adding

    blobs = _blobs(sources)
    is_git = revision is not None or adding.is_repository(place)
    if is_git and revision is None:
        raise click.UsageError("--revision is missing: say which commit, tag or branch of the repository")
    if not is_git and (submodules or sparse):
        raise click.UsageError("--submodules and --sparse-checkout are for git repositories")
    if is_git:
        address = place.removeprefix("git+")
        added = adding.add_git(address, revision or "", blobs, submodules=submodules, sparse=sparse)
    else:
        added = adding.add(place, blobs)
    if as_json:
        click.echo(json.dumps(vars(added), sort_keys=True))
        return
    click.echo(f"{added.name}: {size_text(added.size)}, in {blobs.folder}", err=True)
    for option, text in added.options.items():
        click.echo(f"{option} = {text}" if "\n" not in text else f"{option} =\n  " + text.replace("\n", "\n  "))


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8480, show_default=True, help="0 takes a free one.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True), help="PEM file; it makes this https.")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="PEM file of the certificate's key.")
@sources_option
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object.")
def serve_command(
    host: str, port: int, certificate: Path | None, key: Path | None, sources: Path | None, as_json: bool
) -> None:
    """Serve the source cache to other machines, read-only and by hash, until it is stopped."""
    from allotment_recipes.source_cache.server import SourceServer

    blobs = _blobs(sources)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SourceServer(blobs.folder, host, port, certificate, key) as server:
            text = f"{server.url} serves {blobs.folder}; others set ALLOTMENT_SOURCE_SERVERS={server.url}"
            click.echo(json.dumps({"url": server.url, "sources": str(blobs.folder)}) if as_json else text)
            server.serve_forever()
    except KeyboardInterrupt:
        pass


def _blobs(sources: Path | None) -> BlobStore:
    return BlobStore((sources or Path("var", "sources")).absolute())


def _profiles(paths: Sequence[Path], *, is_all: bool) -> dict[str, Path]:
    """Map releases to their profiles, by the names by which they were given."""
    found = {str(path): profile_of(path) for path in paths}
    if is_all:
        found |= {str(path.parent): path.absolute() for path in sorted(Path("software").glob("*/software.cfg"))}
    if not found:
        raise click.UsageError("PATHS are missing: give a software.cfg or its folder, or --all")
    for path in found.values():
        if not path.is_file():
            raise AllotmentError(f"{path} does not exist", "Give the path of a software.cfg, or of its folder")
    return found


def _survey(
    profiles: Mapping[str, Path], root: Path | None, blobs: BlobStore, *, fetch: bool
) -> dict[str, dict[str, Any]]:
    """Map each release to what it wants, and to why something that was to be fetched can't be had."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="allot-source-") as scratch, BuildEngine() as engine:
        for number, (name, profile) in enumerate(profiles.items()):
            folder = Path(scratch, str(number))
            log = folder / "source.log"
            with Follow(log, lambda data: click.echo(data, nl=False, err=True)):
                base = (root or tree_root(profile)).absolute()
                wanted, lost = engine.sources(profile, base, folder, blobs.folder, _TIMEOUT, log, fetch=fetch)
            found[name] = {"wanted": [dict(item) for item in wanted], "lost": lost}
    return found


def _list_cache(blobs: BlobStore, *, as_json: bool) -> None:
    from allotment_recipes.source_cache import notes

    found = list(notes.cached(blobs))
    if as_json:
        click.echo(json.dumps({"sources": [vars(item) for item in found]}, sort_keys=True))
        return
    for item in found:
        day = time.strftime("%Y-%m-%d", time.gmtime(item.used))
        names = ", ".join(map(shown, item.names)) or "-"
        click.echo(f"{item.sha256}  {size_text(item.size):>8}  {day}  {names}")
    click.echo(f"{len(found)} in {blobs.folder}, {size_text(sum(item.size for item in found))}", err=True)
