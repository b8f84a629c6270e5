# SPDX-License-Identifier: Apache-2.0
"""What the commands that read a release as a build does have in common: where it, its sources and parts are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click


def _ask_first(context: click.Context, option: click.Parameter, servers: tuple[str, ...]) -> None:
    from allotment_recipes.providers.source_server import ask_first

    ask_first(servers)


root_option = click.option(
    "--root", type=click.Path(path_type=Path), help="Tree that holds all it reads. [default: above software/]"
)
sources_option = click.option("--sources", type=click.Path(path_type=Path), help="Source cache. [default: var/sources]")
store_option = click.option(
    "--store", type=click.Path(path_type=Path), help="Of parts that releases share. [default: var/store]"
)
system_store_option = click.option(
    "--system-store", "systems", type=click.Path(path_type=Path), multiple=True, help="A further store, only read."
)
cache_option = click.option(
    "--cache", "urls", metavar="URL", multiple=True, help="Binary cache to take parts from; in order."
)
source_server_option = click.option(
    "--source-server", multiple=True, metavar="URL", expose_value=False, callback=_ask_first,
    help="Another machine's source cache to ask first.",
)  # fmt: skip


def build_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where a build reads and takes from, in the order in which help shows them."""
    options = (root_option, sources_option, store_option, system_store_option, source_server_option, cache_option)
    for option in reversed(options):
        command = option(command)
    return command


def caches_of(urls: tuple[str, ...]) -> Sequence[Mapping[str, Any]]:
    """Return binary caches by their addresses, with the keys that the user trusts."""
    if not urls:
        return ()
    from allotment_recipes.binary_cache.keys import trusted_caches

    return trusted_caches(urls)


def profile_of(path: Path) -> Path:
    """Return the software.cfg, or else the component, that is meant by its path or its folder's."""
    if not path.is_dir():
        return path.absolute()
    release, component = path.absolute() / "software.cfg", path.absolute() / "buildout.cfg"
    return component if component.is_file() and not release.exists() else release


def tree_root(profile: Path) -> Path:
    """Return the folder that holds ``software/`` and ``components/``; elsewhere the profile's own folder."""
    folders = profile.parents
    return folders[2] if len(folders) > 2 and folders[1].name in ("software", "components") else folders[0]
