# SPDX-License-Identifier: Apache-2.0
"""``allot node register``: make this machine known to a master, once."""

from pathlib import Path

import click

from allotment import atomic
from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem
from allotment.secret import Secret, read_token
from allotment_node.config import MOST_PARTITIONS, ConfigError, NodeConfig, dump, trusted_keys
from allotment_node.folder import NodeFolder

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("register")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="The node's folder.")
@click.option("--name", required=True, help="What masters know this node by.")
@click.option("--master", "masters", multiple=True, required=True, help="URL; give several of the same fleet.")
@click.option("--token-file", type=_FILE, required=True, help="File with an admin's or an enrolment token.")
@click.option("--partitions", default=4, show_default=True, help=f"Instances that fit, 1 to {MOST_PARTITIONS}.")
@click.option("--trust", type=_FILE, multiple=True, help="File with public keys whose releases are accepted.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="What allocation may ask of this node.")
@click.option("--allow-development", is_flag=True, help="Accept unsigned releases supplied as development.")
@click.option(
    "--services",
    type=click.Choice(["detached", "attached"]),
    default="detached",
    show_default=True,
    help="Whether services outlive the agent, or die with it.",
)
def command(
    folder: Path,
    name: str,
    masters: tuple[str, ...],
    token_file: Path,
    partitions: int,
    trust: tuple[Path, ...],
    labels: tuple[str, ...],
    allow_development: bool,
    services: str,
) -> None:
    """Make this machine known to a master and write node.toml and node.token."""
    place = NodeFolder(folder)
    try:
        config = NodeConfig(
            name=name,
            masters=Lines(tuple(masters)),
            partitions=partitions,
            services="attached" if services == "attached" else "detached",
            trust=Lines(tuple(str(path.absolute()) for path in trust)),
            allow_development=allow_development,
        )
    except OptionProblem as error:
        raise ConfigError(f"--{error.what}", error.fix) from error
    _check_trust(config, place)
    register(place, config, read_token(token_file), _parse_labels(labels))
    click.echo(f"{name} is registered; run it with: allot node run --folder {place.root}")


def register(place: NodeFolder, config: NodeConfig, token: Secret, labels: dict[str, str]) -> None:
    """Make a node known to its master and write its folder; a folder that is registered already is an error."""
    with place.lock:
        if place.config.exists():
            raise AllotmentError(
                f"{place.root} is registered already", f"Use it as it is, or remove {place.config} to register anew"
            )
        received = _ask(config, token, labels)
        place.create()
        atomic.write_bytes(place.token, received.reveal().encode() + b"\n", 0o600)
        atomic.write_bytes(place.config, dump(config).encode())


def _ask(config: NodeConfig, token: Secret, labels: dict[str, str]) -> Secret:
    from allotment.client import MasterClient, check_url
    from allotment_recipes.store import platform_name

    for url in config.masters:
        check_url(url)
    with MasterClient(config.masters[0], token) as client:
        return client.register_node(config.name, config.partitions, platform_name(), labels)


def _check_trust(config: NodeConfig, place: NodeFolder) -> None:
    """Refuse now what would be found at the first installation only."""
    try:
        trusted_keys(config, place.root)
    except ConfigError as error:
        what = error.what.removeprefix("trust: ")
        raise ConfigError(f"--trust: {what}", "Give a file with public keys, such as a farm's signing.pub") from error


def _parse_labels(labels: tuple[str, ...]) -> dict[str, str]:
    for label in labels:
        if not label.partition("=")[0] or "=" not in label:
            raise AllotmentError(f"--label {label!r} has no name or no value", "Write it like disk=ssd")
    return dict(label.split("=", 1) for label in labels)
