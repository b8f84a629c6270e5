# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.ssh-keys``: a key pair of the instance, and who may run one command here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem, check_given_together
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.keys import authorized, check_program, kept_or_made, read_public
from allotment_recipes.scripts import refuse_secrets


@dataclass(frozen=True)
class Options:
    keygen_binary: Path  # ssh-keygen of OpenSSH, its whole path
    key_file: Path | None = None  # the private key, which stays when the section goes; default: etc/ssh/ and its name
    authorized_keys: Lines = Lines(())  # public keys of others, one a line
    command: str = ""  # all that they may run here, for their shell; it sees SSH_ORIGINAL_COMMAND
    authorized_keys_file: Path | None = None  # what is written for an SSH server; default: key-file.authorized

    def __post_init__(self) -> None:
        check_given_together(authorized_keys=self.authorized_keys, command=self.command.strip())


class Recipe(GenericBaseRecipe[Options]):
    """Make an ed25519 key once, on the node. Others read ``${section:public-key}`` and ``${section:key-file}``.

    The private key never leaves the partition and is never replaced. With ``authorized-keys``, those who have them may
    run ``command`` and nothing else, without terminal and forwarding, where a server reads ``authorized-keys-file``.
    """

    def prepare(self) -> None:
        options = self.options
        check_program("keygen-binary", options.keygen_binary)
        self.file = self.path(options.key_file or f"etc/ssh/{self.name}")
        self.private, public = kept_or_made(options.keygen_binary, self.file)
        self.run.tokens.token(Secret(self.private))  # from now on it is blanked out of what is logged
        self.keys = [read_public("authorized-keys", line) for line in options.authorized_keys]
        refuse_secrets(self, "command", options.command)
        if not options.command.isprintable():
            raise OptionProblem("command", "is not one line of text", "Write more than one line to a script")
        self.authorized = self.path(options.authorized_keys_file or f"{self.file}.authorized")
        self.publish_option("key-file", self.file)
        self.publish_option("public-key", public)
        self.publish_option("authorized-keys-file", self.authorized)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["key-file"]]

    def install(self) -> list[Path]:
        """Write the key, also when it is there: then only its permissions may change."""
        self.write(self.file, self.private, 0o600, private=True)
        if not self.keys:
            return []
        return [self.write(self.authorized, authorized(self.keys, self.options.command.strip()), 0o600)]
