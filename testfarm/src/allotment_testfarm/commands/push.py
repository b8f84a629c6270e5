# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_testfarm push``: give the farm's binary cache what a test node has built."""

from pathlib import Path

import click

_NICE = 10  # as much as others' work comes first


@click.command("push")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="The test node's folder.")
@click.option("--cache", "url", required=True, help="URL of the binary cache.")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="File with the test nodes' token.")
@click.argument("parts", nargs=-1)
@click.pass_context
def command(context: click.Context, folder: Path, url: str, token_file: Path, parts: tuple[str, ...]) -> None:
    """Push PARTS of the test node's store, and print each that is settled; 1 when some are to be tried again."""
    import os

    from allotment.program import log_to_stderr
    from allotment.secret import read_token
    from allotment_recipes.binary_cache.caches import open_cache
    from allotment_recipes.signing import load_or_create_key
    from allotment_recipes.store import padded_root
    from allotment_testfarm.testnode.pushing import push_proved
    from allotment_testfarm.testnode.sharing import KEY

    log_to_stderr()
    os.nice(_NICE)
    cache = open_cache(url, read_token(token_file, "Give the farm's node.token").reveal())
    key = load_or_create_key(folder / KEY)
    if not push_proved(cache, padded_root(folder / "store"), parts, key, click.echo):
        context.exit(1)
