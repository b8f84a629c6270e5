# SPDX-License-Identifier: Apache-2.0
"""Recipe ``ssh.key``: a key pair of the instance, and a program that uses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, check_given_together
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.keys import check_program, kept_or_made
from allotment_recipes.scripts import write_script


@dataclass(frozen=True)
class Options:
    keygen_binary: Path  # ssh-keygen of OpenSSH, its whole path
    private_key: Path  # file of the private key, which stays when the section goes
    public_key: Path | None = None  # file of the public key; default: private-key.pub
    executable: Path | None = None  # program that needs the key, such as a script that starts an SSH server
    wrapper: Path | None = None  # the script that starts it, for etc/service or bin

    def __post_init__(self) -> None:
        check_given_together(executable=self.executable, wrapper=self.wrapper)


class Recipe(GenericBaseRecipe[Options]):
    """Make an ed25519 key once, on the node. Others read ``${section:public-key-value}``, from the first run on.

    The private key never leaves the partition and is never replaced; nothing has to wait for it.
    """

    def prepare(self) -> None:
        options = self.options
        check_program("keygen-binary", options.keygen_binary)
        self.file = self.path(options.private_key)
        self.public_file = self.path(options.public_key or f"{self.file}.pub")
        if self.public_file == self.file:
            raise OptionProblem("public-key", "is the private-key", "Give each a file of its own")
        self.private, self.public = kept_or_made(options.keygen_binary, self.file)
        self.run.tokens.token(Secret(self.private))  # from now on it is blanked out of what is logged
        self.publish_option("private-key", self.file)
        self.publish_option("public-key", self.public_file)
        self.publish_option("public-key-value", self.public)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["private-key"]]

    def install(self) -> list[Path]:
        """Write both keys, the private one also when it is there: then only its permissions may change."""
        self.write(self.file, self.private, 0o600, private=True)
        written = [self.write(self.public_file, f"{self.public}\n")]
        if self.options.executable is not None and self.options.wrapper is not None:
            written.append(write_script(self, self.options.wrapper, [str(self.path(self.options.executable))]))
        return written
