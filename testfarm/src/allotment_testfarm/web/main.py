# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_testfarm web``: the web tier as a program of its own."""

import gc
from pathlib import Path

import click

from allotment_testfarm.commands.cache_options import cache_options

NAME = "web"  # of the ready file and the lock


@click.command("web")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="The farm's folder.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on loopback; 0 takes a free one.")
@click.option(
    "--database",
    "url",
    default="",
    envvar="ALLOTMENT_FARM_DATABASE",
    help="URL of the farm's database; without it a file in the folder.",
)
@click.option("--name", default="", help="Of this web tier, where several share the folder and PostgreSQL.")
@cache_options
def command(folder: Path, port: int, url: str, name: str, cache: str, cache_url: str) -> None:
    """Serve the farm's pages and its JSON API until SIGTERM; the engine is another process."""
    from allotment.program import log_to_stderr
    from allotment_master.kit.database import Database, sqlite_url
    from allotment_master.kit.serving import serve
    from allotment_testfarm.engine.naming import own
    from allotment_testfarm.engine.settings import DATABASE
    from allotment_testfarm.web.app import PACKAGE, create_app
    from allotment_testfarm.web.cache import PLACE, create_cache

    log_to_stderr()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(url or sqlite_url(str(folder / DATABASE)))
    try:
        database.upgrade(PACKAGE)  # the engine does it too; whoever comes first
        served = create_cache(folder, cache)
        app = create_app(database, folder, cache=served)
        # A large page makes thousands of short-lived objects: collections in the middle of it, over all that was
        # imported, take longer than making it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        serve(app, folder, own(name, NAME), port, ready={"cache": (cache_url or PLACE) if served else ""})
    finally:
        database.close()
