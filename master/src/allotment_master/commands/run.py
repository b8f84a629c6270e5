# SPDX-License-Identifier: Apache-2.0
"""``allot master run``: a master, until SIGTERM."""

import os
import secrets
from pathlib import Path

import click

from allotment import atomic
from allotment.plugins import plugins
from allotment.program import log_to_stderr
from allotment.secret import Secret, read_token
from allotment_master.app import create_app
from allotment_master.kit.database import Database, sqlite_url
from allotment_master.kit.serving import Tls, check_address, serve
from allotment_master.master import Master


@click.command("run")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Keeps everything.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any, the same again after a restart.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--database", help="URL of the database; a SQLite file in the folder without it.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True), help="TLS certificate, in PEM.")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="The certificate's key, in PEM.")
def command(
    folder: Path, port: int, host: str, database: str | None, certificate: Path | None, key: Path | None
) -> None:
    """Run a master."""
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together")
    log_to_stderr()
    tls = Tls(certificate, key) if certificate and key else None
    check_address(host, tls)
    folder = folder.absolute()
    os.umask(0o077)  # parameters in the database and blobs are nobody else's business
    folder.mkdir(parents=True, exist_ok=True)
    store = Database(database or sqlite_url(str(folder / "master.sqlite")))
    try:
        master = Master(store, folder, plugins().items("allotment_allocation_terms"))
        master.ensure_token("admin", _admin_token(folder / "admin.token"))
        serve(create_app(master), folder, "master", port, host, tls)
    finally:
        store.close()


def _admin_token(path: Path) -> Secret:
    """Return the folder's admin token, made at the first start; only its owner can read it."""
    if not path.exists():
        atomic.write_bytes(path, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
    return read_token(path)
