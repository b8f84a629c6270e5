# SPDX-License-Identifier: Apache-2.0
"""Recipes of one product each: the programs come from the profile, so only the words that start them are ours."""

import shlex
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes.aliases import Alias

_NEO: Final = (
    *("cluster", "masters", "partitions", "replicas", "upstream-cluster", "upstream-masters", "autostart"),
    *("engine",),
)
_NEO_OTHERWISE: Final = {
    "database-adapter": "adapter",
    "database-parameters": "database",
    "logfile": "logfile",
    "wait-database": "wait",
}
_FALSE: Final = ("", "0", "false", "no")


def _neo(options: dict[str, str]) -> None:
    """Start a program of NEO; what is empty is left to its own default."""
    if options.pop("ssl", "").strip().lower() not in _FALSE:
        fix = "Write a section with the recipe wrapper, and --ca, --cert and --key on its command line"
        raise OptionProblem("ssl", "where the certificates are is not known here", fix)
    words = [options.pop("binary", "")]
    for option, flag in [*((name, name) for name in _NEO), *_NEO_OTHERWISE.items()]:
        text = options.pop(option, "").strip()
        if text:
            words += [f"--{flag}", text]
    place = options.pop("ip", "").strip()
    if place:
        host = f"[{place}]" if ":" in place and not place.startswith("[") else place
        port = options.pop("port", "").strip()
        words += ["--bind", f"{host}:{port}" if port else host]
    options["command-line"] = shlex.join(words)


def _kumofs(options: dict[str, str]) -> None:
    """Start the three programs of kumofs: manager, server and gateway."""

    def words(program: str, *arguments: str) -> str:
        binary, log = (options.get(f"kumo-{program}-{kind}", "") for kind in ("binary", "log"))
        line = shlex.join([binary, *arguments, "-o", log])
        return f"{options.get(f'{program}-wrapper', '')} = {line}"

    host = options.get("ip", "").strip()
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    place = {name: f"{host}:{options.get(f'{name}-port', '')}" for name in ("manager", "server", "gateway")}
    commands = [
        words("manager", "-l", place["manager"]),
        words(
            *("server", "-l", place["server"], "-L", options.get("server-listen-port", "")),
            *("-m", place["manager"], "-s", options.get("data-path", "")),
        ),
        words("gateway", "-m", place["manager"], "-t", place["gateway"]),
    ]
    options["commands"] = "\n".join(commands)


NEO: Final = Alias("wrapper", renamed={"wrapper": "wrapper-path"}, convert=_neo)
KUMOFS: Final = Alias(
    "wrappers",
    dropped={"shell-path": "it is a script of /bin/sh", "address-family": "the address tells it"},
    convert=_kumofs,
)
