# SPDX-License-Identifier: Apache-2.0
"""The part of a recipe that runs an SSH server of its own, for keys that may do one thing."""

import hashlib
import ipaddress
import pwd
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.options import Lines, OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.job import check_seconds
from allotment_recipes.resilience.keys import authorized, check_program, kept_or_made, read_public
from allotment_recipes.scripts import write_script

_NO_SHELL: Final = ("nologin", "false")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    host: str  # address that the SSH server listens on
    port: int  # of host
    authorized_keys: Lines = Lines(())  # public keys of those who may come, one a line
    sshd_binary: Path  # sshd of OpenSSH, its whole path
    keygen_binary: Path  # ssh-keygen, its whole path
    rsync_binary: Path  # rsync, its whole path
    services: Path = Path("etc/service")  # folder of the service
    transfer_timeout: float = 21600.0  # seconds after which a transfer is cut, however slow the other side is


class Server:
    """``etc/service/<section>`` and what it reads, in ``etc/<section>``; the host key outlives the section."""

    def __init__(self, recipe: GenericBaseRecipe[Any], options: ServerOptions) -> None:
        self._recipe, self._options = recipe, options
        for option in ("sshd-binary", "keygen-binary", "rsync-binary"):
            check_program(option, getattr(options, option.replace("-", "_")))
        try:
            ipaddress.ip_address(options.host)
        except ValueError as error:
            raise OptionProblem("host", f"{options.host!r} is not an address", "Write it like 127.0.0.1") from error
        if not 1 <= options.port <= 65535:
            raise OptionProblem("port", f"{options.port} is not a port", "Write a number from 1 to 65535")
        check_seconds(options, "transfer-timeout")
        self._keys = [read_public("authorized-keys", line) for line in options.authorized_keys]
        self._user = _user(recipe.folder)
        self._folder = recipe.path(f"etc/{recipe.name}")
        self.key_file = self._folder / "host_key"
        self._private, public = kept_or_made(options.keygen_binary, self.key_file)
        recipe.run.tokens.token(Secret(self._private))  # from now on it is blanked out of what is logged
        recipe.publish_option("host-key", public)
        recipe.publish_option("user", self._user)

    def write(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> list[Path]:
        """Write the service, by which nobody can run anything but ``words``; new settings make it start anew."""
        recipe, options = self._recipe, self._options
        words = [*words, "--rsync", str(options.rsync_binary), "--transfer-timeout", str(options.transfer_timeout)]
        recipe.write(self.key_file, self._private, 0o600, private=True)
        script = write_script(recipe, self._folder / "command", words, environment)
        keys = recipe.write(self._folder / "authorized_keys", authorized(self._keys, shlex.quote(str(script))), 0o600)
        text = self._settings(keys, script)
        settings = recipe.write(self._folder / "sshd_config", text, 0o600)
        start = [str(options.sshd_binary), "-D", "-e", "-f", str(settings)]
        digest = hashlib.sha256(text.encode()).hexdigest()
        service = write_script(recipe, recipe.path(options.services) / recipe.name, start, notes=[f"settings {digest}"])
        return [script, keys, settings, service]

    def _settings(self, keys: Path, script: Path) -> str:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        # StrictModes looks at the folders above the partition, which are not ours; the file itself is private.
        return f"""\
ListenAddress {host}:{self._options.port}
HostKey "{self.key_file}"
PidFile none
AllowUsers {self._user}
AuthorizedKeysFile "{keys}"
StrictModes no
AuthenticationMethods publickey
PubkeyAuthentication yes
PubkeyAcceptedAlgorithms ssh-ed25519
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
PermitRootLogin forced-commands-only
UsePAM no
DisableForwarding yes
PermitTTY no
PermitUserRC no
PermitUserEnvironment no
PrintMotd no
ForceCommand {shlex.quote(str(script))}
LoginGraceTime 30
MaxAuthTries 3
MaxSessions 1
MaxStartups 10:30:20
ClientAliveInterval 30
ClientAliveCountMax 4
"""


def _user(folder: Path) -> str:
    """Return the partition's user, as whom alone one comes in."""
    owner = folder.stat().st_uid
    try:
        user = pwd.getpwuid(owner)
    except KeyError as error:
        raise OptionProblem("host", f"user {owner} of {folder} has no name", "Add the user") from error
    if Path(user.pw_shell).name in _NO_SHELL:
        fix = f"Give it one: usermod --shell /bin/sh {user.pw_name}"
        raise OptionProblem("host", f"user {user.pw_name} has no shell, which sshd needs to run a command", fix)
    return user.pw_name
