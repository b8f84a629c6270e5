# SPDX-License-Identifier: Apache-2.0
"""The part of a recipe that goes to an SSH server whose host key it knows."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.keys import check_program, read_public
from allotment_recipes.resilience.program import PEER
from allotment_recipes.scripts import write_script

_WORD: Final = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.:]*")


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    host: str  # of the other side, as it publishes it
    port: int  # of host
    user: str  # who we are there
    host_key: str  # the other side's public key: nobody else is talked to
    key_file: Path  # our private key, as backup.ssh-keys makes it
    ssh_binary: Path  # ssh of OpenSSH, its whole path
    rsync_binary: Path  # rsync, its whole path


class Client:
    """``etc/<section>/ssh``, a script that goes to the other side under the name ``peer``."""

    def __init__(self, recipe: GenericBaseRecipe[Any], options: ClientOptions) -> None:
        self._recipe, self._options = recipe, options
        check_program("ssh-binary", options.ssh_binary)
        check_program("rsync-binary", options.rsync_binary)
        for option, word in (("host", options.host), ("user", options.user)):
            if not _WORD.fullmatch(word):
                raise OptionProblem(option, f"{word!r} can't be one", "Write what the other side publishes")
        if not 1 <= options.port <= 65535:
            raise OptionProblem("port", f"{options.port} is not a port", "Write a number from 1 to 65535")
        self._host_key = read_public("host-key", options.host_key)
        self._folder = recipe.path(f"etc/{recipe.name}")
        self.script = self._folder / "ssh"

    def write(self) -> list[Path]:
        """Write the script and the host key that it trusts."""
        recipe, options = self._recipe, self._options
        known = recipe.write(self._folder / "known_hosts", f"{PEER} {self._host_key}\n", 0o600)
        settings = {
            "HostName": options.host,
            "HostKeyAlias": PEER,
            "HostKeyAlgorithms": "ssh-ed25519",
            "UserKnownHostsFile": f'"{known}"',
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "IdentityFile": f'"{recipe.path(options.key_file)}"',
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "ServerAliveInterval": "30",
            "ControlPath": "none",
            "LogLevel": "ERROR",
        }
        words = [str(options.ssh_binary), "-F", "none", "-p", str(options.port), "-l", options.user]
        for name, value in settings.items():
            words += ["-o", f"{name}={value}"]
        return [known, write_script(recipe, self.script, words)]
