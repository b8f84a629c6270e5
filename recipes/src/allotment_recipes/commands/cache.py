# SPDX-License-Identifier: Apache-2.0
"""``allot cache``: share what is built."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment.terminal import table
from allotment_recipes.commands.store_options import size_text

_URL = "Of the cache: http(s)://..., s3://bucket/folder or a folder."


@click.command("key")
@click.option("--trust", "trusted", metavar="KEY", multiple=True, help="Take parts that this public key has signed.")
@click.option("--distrust", metavar="KEY", multiple=True, help="No longer take them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def key_command(trusted: tuple[str, ...], distrust: tuple[str, ...], as_json: bool) -> None:
    """Print your public key, which is made at the first call, and the keys that you trust."""
    from allotment.configuration import user_folder
    from allotment_recipes.binary_cache import keys

    keys.trust(trusted)
    for key in distrust:
        keys.distrust(key)
    public = keys.own_key().public
    others = [key for key in keys.trusted_keys() if key != public]
    if as_json:
        click.echo(json.dumps({"public": public, "trusted": others, "folder": str(user_folder())}))
        return
    click.echo(f"your key:  {public}")
    for key in others:
        click.echo(f"trusted:   {key}")


@click.command("list")
@click.argument("url")
@click.option("--after", default="", metavar="PART", help="Begin with the part after this one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Parts that are listed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(url: str, after: str, limit: int, as_json: bool) -> None:
    """List the parts in the cache at URL by name, and whether you may take them: trusted, and for your store."""
    from allotment_recipes.binary_cache import entry, keys
    from allotment_recipes.binary_cache.caches import open_cache
    from allotment_recipes.providers.url import shown as without_password

    cache = open_cache(url)
    try:
        names = cache.names(after, limit)
        entries = cache.entries(names)
    except AllotmentError as error:
        fix = error.fix or "Correct the address, or see that the cache is served"
        raise type(error)(f"{without_password(url)}: {error.what}", fix) from error
    if not names and "://" not in url and not Path(url).exists():
        raise AllotmentError(f"{url} does not exist", "Give the folder, or the http or s3 address, of a cache")
    trusted = keys.trusted_keys()
    rows: list[tuple[str, str, int | None, str]] = []
    for part, data in sorted(entries.items()):
        try:
            signed = entry.read(data, part)
        except AllotmentError:
            rows.append((part, "", None, "damaged"))
            continue
        packed = signed.packed
        try:
            entry.check_signature(signed, trusted, "you")
            state = f"in {packed.root} only" if packed.fixed else "any store"
        except AllotmentError:
            state = "not trusted"
        rows.append((part, packed.platform, packed.archive.size, state))
    if as_json:
        fields = ("part", "platform", "bytes", "fits")
        parts = [dict(zip(fields, row, strict=True)) for row in rows]
        click.echo(json.dumps({"parts": parts, "next": names[-1] if len(names) == limit else None}))
        return
    sizes = [(part, platform, "" if size is None else size_text(size), state) for part, platform, size, state in rows]
    table([("part", "platform", "size", "fits"), *sizes], "no parts")


@click.command("push")
@click.argument("releases", type=click.Path(path_type=Path, exists=True, file_okay=False), nargs=-1)
@click.option("--cache", "url", required=True, help=_URL)
@click.option("--store", type=click.Path(path_type=Path), help="Where the parts are. [default: var/store]")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True), help="Holds the token of a served cache.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Parts at the same time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def push_command(
    releases: tuple[Path, ...], url: str, store: Path | None, token_file: Path | None, jobs: int, as_json: bool
) -> None:
    """Push what the built RELEASES use, or all of the store: packed, signed with your key; not what is there already.

    An upload that was interrupted goes on where it ended.
    """
    from allotment_recipes.binary_cache import keys, push
    from allotment_recipes.binary_cache.caches import open_cache
    from allotment_recipes.store import padded_root

    root = padded_root((store or Path("var", "store")).absolute())
    parts = push.parts_of_releases(root, releases) if releases else push.parts_of_store(root)
    if not parts:
        raise AllotmentError(f"{root} has no part of a release to push", "Build one, or give its --store")
    cache = open_cache(url, token_file.read_text().strip() if token_file else "")
    wanted = push.with_references(root, parts)
    click.echo(f"{len(wanted)} part{'' if len(wanted) == 1 else 's'} of {root.parent}", err=True)

    def told(result: push.Pushed) -> None:
        size = f", {size_text(result.bytes)}" if result.bytes else ""
        fixed = f", for this store's folder only: {result.fixed} files hide it" if result.fixed else ""
        click.echo(f"{result.state:<8} {result.part}{size}{fixed}{result.reason and ': '}{result.reason}", err=True)

    results = push.push(cache, root, wanted, keys.own_key(), told, jobs)
    if as_json:
        click.echo(json.dumps({"parts": [dataclasses.asdict(result) for result in results]}))
        return
    click.echo(_summary(results))


def _summary(results: "Iterable[object]") -> str:
    states = [getattr(result, "state", "") for result in results]
    size = sum(getattr(result, "bytes", 0) for result in results if getattr(result, "state", "") == "added")
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("added", "there", "refused") if state in states)
    return f"{counts}; {size_text(size)} sent"


@click.command("serve")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Keeps everything.")
@click.option("--keep", default="", metavar="URL", help="Keep the parts there: s3://bucket/folder, or a folder.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True), help="TLS certificate, in PEM.")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="The certificate's key, in PEM.")
def serve_command(folder: Path, keep: str, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    """Serve a binary cache. Everybody may read; pushing needs the token in FOLDER/token and a key that you trust."""
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together")
    from allotment.program import log_to_stderr

    try:
        from allotment_recipes.binary_cache.serving import Listening, serve
    except ModuleNotFoundError as error:
        raise AllotmentError(f"serving needs {error.name}", "Install allotment.recipes[cache]") from error
    log_to_stderr()
    serve(folder.absolute(), keep, Listening(host, port, certificate, key))
