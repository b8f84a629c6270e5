# SPDX-License-Identifier: Apache-2.0
"""``node.toml``: who this node is, which masters it follows, whom it trusts."""

import json
import re
import resource
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from allotment.errors import AllotmentError, nearest
from allotment.options import Lines, OptionProblem, option_name, parse_options

FORMAT: Final = 1
MOST_PARTITIONS: Final = 250  # each has an address of one 127.x.y.0/24 block
_KEY: Final = re.compile(r"ed25519:[A-Za-z0-9+/]{43}=")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")


class ConfigError(AllotmentError):
    """The node's configuration is missing or wrong."""


@dataclass(frozen=True)
class NodeConfig:
    """The options of node.toml; a field's ``_`` is written ``-`` there."""

    name: str  # what masters know this node by
    masters: Lines  # URLs; they share one database, any of them will do
    partitions: int = 4  # instances that fit on this node, 1 to 250
    services: Literal["detached", "attached"] = "detached"  # whether services outlive the agent
    supervisor: str = "supervisord"  # name of a process supervisor that a plugin registers
    trust: Lines = Lines(())  # files with public keys, one a line; relative ones are inside the node's folder
    binary_caches: Lines = Lines(())  # URLs that are asked, in order, for parts that are not in the store yet
    cache_trust: Lines = Lines(())  # files with public keys, as in trust: of those whose packed parts are taken
    allow_development: bool = False  # whether unsigned releases that are supplied as development are accepted
    limits: Lines = Lines(())  # rlimits of every service, such as "nofile=4096"; they can only be lowered
    workers: int = 4  # partitions processed at the same time
    build_timeout: float = 7200.0  # seconds for one release
    instance_timeout: float = 600.0  # seconds for one processing of a partition
    promise_memory: int = 512  # MiB that the promises which run in one process may use
    monitor_folder: str = "state/monitor"  # of the files for monitoring tools; inside the node's folder, or absolute
    system_stores: Lines = Lines(())  # folders of stores that others fill: whole parts there are used where they are
    settle: float = 20.0  # seconds that promises may take to be kept after a deployment, before it is called red

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionProblem("name", f"{self.name!r} is not a node's name", "Use a-z, 0-9, '-' and '.'")
        if not self.masters:
            raise OptionProblem("masters", "is empty", 'Write it like ["https://master.example"]')
        if not 1 <= self.partitions <= MOST_PARTITIONS:
            raise OptionProblem("partitions", f"{self.partitions} is too few or too many", f"1 to {MOST_PARTITIONS}")
        if not 1 <= self.workers <= 64:
            raise OptionProblem("workers", f"{self.workers} is too few or too many", "1 to 64")
        if self.promise_memory < 16:
            raise OptionProblem("promise-memory", f"{self.promise_memory} MiB is too little", "At least 16")

        if self.binary_caches and not self.cache_trust:
            raise OptionProblem("cache-trust", "is empty, and binary-caches is not", "Name files with trusted keys")
        _ = self.service_limits  # raises on a wrong one

    @property
    def service_limits(self) -> dict[str, int]:
        """The rlimits of services by name."""
        valid = tuple(name.removeprefix("RLIMIT_").lower() for name in dir(resource) if name.startswith("RLIMIT_"))
        found: dict[str, int] = {}
        for line in self.limits:
            name, _, value = line.partition("=")
            if name not in valid:
                raise OptionProblem("limits", f"unknown limit '{name}'", nearest(name, valid))
            if not value.isdecimal():
                raise OptionProblem("limits", f"{line!r} has no whole number", f"Write it like {name}=1024")
            found[name] = int(value)
        return found

    @property
    def partition_names(self) -> tuple[str, ...]:
        """``part0``, ``part1``, ..."""
        return tuple(f"part{number}" for number in range(self.partitions))


def load(path: Path) -> NodeConfig:
    """Read node.toml; every mistake names the file, the option and the fix."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist",
            f"Register this node first: allot node register --folder {path.parent} --name NAME --master URL",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", "Run this as the user who owns it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", "Correct it") from error
    found = data.pop("format", None)
    if found != FORMAT or isinstance(found, bool):
        raise ConfigError(
            f"{path} has format {found!r}; this version reads format {FORMAT}", f"Write format = {FORMAT}"
        )
    try:
        return parse_options(NodeConfig, data)
    except OptionProblem as error:
        raise ConfigError(f"{path}: {error.what}", error.fix) from error


def dump(config: NodeConfig) -> str:
    """Return the text of node.toml; options at their defaults are left out."""
    lines = ["# SPDX-License-Identifier: Apache-2.0", f"format = {FORMAT}"]
    for field in fields(NodeConfig):
        value = getattr(config, field.name)
        if value != field.default:
            lines.append(f"{option_name(field.name)} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def trusted_keys(config: NodeConfig, folder: Path) -> tuple[str, ...]:
    """Return the public keys of the trust files; ``#`` opens a comment. Read anew each time: a key may be added."""
    return _keys("trust", config.trust, folder)


def binary_caches(config: NodeConfig, folder: Path) -> tuple[dict[str, Any], ...]:
    """Return the binary caches with the keys whose parts are taken, as a build wants them."""
    keys = list(_keys("cache-trust", config.cache_trust, folder))
    urls = (url if "://" in url else str(folder / url) for url in config.binary_caches)
    return tuple({"url": url, "keys": keys} for url in urls)


def _keys(option: str, names: Lines, folder: Path) -> tuple[str, ...]:
    keys: list[str] = []
    for name in names:
        path = folder / name
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise ConfigError(
                f"{option}: {path} can't be read: {error.strerror}", "Correct the path in node.toml"
            ) from error
        for number, line in enumerate(lines, 1):
            key = line.partition("#")[0].strip()
            if key and not _KEY.fullmatch(key):
                raise ConfigError(f"{path} line {number} is not a public key", "Write it like ed25519:<base64>")
            if key:
                keys.append(key)
    return tuple(keys)


def _toml(value: Any) -> str:
    """Return a TOML value; JSON's strings, numbers, booleans and lists of strings are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
