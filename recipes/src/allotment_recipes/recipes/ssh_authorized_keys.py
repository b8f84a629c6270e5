# SPDX-License-Identifier: Apache-2.0
"""Recipe ``ssh.authorized-keys``: who may log in where an SSH server reads this file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.options import Lines, OptionProblem, check_one_given
from allotment_recipes.base import GenericBaseRecipe

_KIND: Final = r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh|ecdsa)-[a-z0-9-]+@openssh\.com)"
_KEY: Final = re.compile(rf"({_KIND}) ([A-Za-z0-9+/]{{20,16384}}={{0,2}})(?: .*)?")


@dataclass(frozen=True)
class Options:
    key: Lines = Lines(())  # public keys, one a line; without any, nobody is let in
    home: Path | None = None  # folder of the file .ssh/authorized_keys
    authorized_keys_file: Path | None = None  # in place of home: the file itself

    def __post_init__(self) -> None:
        check_one_given(home=self.home, authorized_keys_file=self.authorized_keys_file)


class Recipe(GenericBaseRecipe[Options]):
    """Write public keys to a file that its owner alone can read; what else stands in a line is left out.

    What those who have the keys may do is said in the server's configuration, such as by ``ForceCommand``. To let
    others run one command, use ``backup.ssh-keys``.
    """

    def prepare(self) -> None:
        options = self.options
        self.keys = [_read(line) for line in options.key]
        file = options.authorized_keys_file or Path(options.home or ".", ".ssh", "authorized_keys")
        self.file = self.path(file)
        self.publish_option("authorized-keys-file", self.file)

    def install(self) -> list[Path]:
        """Write the file."""
        return [self.write(self.file, "".join(f"{key}\n" for key in dict.fromkeys(self.keys)), 0o600)]


def _read(line: str) -> str:
    found = _KEY.fullmatch(" ".join(line.split()))
    if found is None:
        raise OptionProblem("key", f"{line[:60]!r} is not a public key", "Write it like: ssh-ed25519 AAAAC3Nz...")
    return f"{found[1]} {found[2]}"
