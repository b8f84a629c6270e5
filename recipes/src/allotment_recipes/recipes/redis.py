# SPDX-License-Identifier: Apache-2.0
"""Recipe ``redis``: a Redis server with its configuration, service and promise."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.listening import check_port, check_socket, read_address
from allotment_recipes.scripts import shell_script, write_script
from allotment_recipes.service_password import keep, service_password

_SIZE = re.compile(r"\d+(b|[kmg]b?)?", re.ASCII | re.IGNORECASE)
_PERSISTENCE = {
    "append-only": ("appendonly yes", "appendfsync everysec", 'save ""'),
    "snapshots": ("appendonly no", "save 900 1 300 10 60 10000"),
    "none": ("appendonly no", 'save ""'),
}


@dataclass(frozen=True)
class Options:
    server_bin: Path  # the program redis-server
    cli_bin: Path | None = None  # the program redis-cli, for the promise; default: beside server-bin
    address: str = ""  # to listen on, with port; default: only on unixsocket
    port: int = 6379  # of address
    unixsocket: Path | None = None  # unix socket to listen on
    use_passwd: bool = True  # ask clients for a password
    passwd: Secret | None = None  # that password; default: made once and kept in etc/
    persistence: Literal["append-only", "snapshots", "none"] = "append-only"  # what is kept on disk
    maxmemory: str = "0"  # such as 100mb; 0: no limit
    server_dir: Path | None = None  # folder of the data; default: srv/ and the section's name
    config_file: Path | None = None  # default: etc/ and the section's name
    wrapper: Path | None = None  # the service; default: etc/service/ and the section's name
    promise_wrapper: Path | None = None  # the promise; default: etc/promise/ and the section's name


class Recipe(GenericBaseRecipe[Options]):
    """Run Redis for who knows the password, which others read as ``${section:passwd}`` or in ``${section:url}``.

    The password stands in private files only, never on a command line. The data stays when the section goes.
    """

    def prepare(self) -> None:
        options = self.options
        if not options.address and options.unixsocket is None:
            raise OptionProblem("address", "neither it nor unixsocket is given", "Give one of them, or both")
        if options.address:
            self._check_address()
        if not _SIZE.fullmatch(options.maxmemory):
            raise OptionProblem("maxmemory", f"{options.maxmemory!r} is not a size", "Write it like 100mb")
        if options.passwd is not None and not options.use_passwd:
            raise OptionProblem("passwd", "use-passwd is false", "Remove one of the two")
        self.data = self.path(options.server_dir or f"srv/{self.name}")
        self.configuration = self.path(options.config_file or f"etc/{self.name}.conf")
        self.socket = self.path(options.unixsocket) if options.unixsocket is not None else None
        if self.socket is not None:
            check_socket("unixsocket", self.socket)
        self.password_file = self.path(f"etc/{self.name}.password")
        self.password = service_password("passwd", options.passwd, self.password_file) if options.use_passwd else None
        if self.password is not None:
            self.publish_option("passwd", self.run.tokens.token(self.password))
        self.publish_option("url", self._url())
        self.publish_option("server-dir", self.data)

    def install(self) -> list[Path]:
        """Write configuration, service and promise; a change of the configuration restarts the service."""
        options = self.options
        if self.password is not None and options.passwd is None:
            keep(self, self.password, self.password_file)
        text = self._configuration()
        digest = hashlib.sha256(self.run.tokens.reveal(text).encode()).hexdigest()
        self.data.mkdir(parents=True, exist_ok=True)
        self.data.chmod(0o700)  # whatever mode redis gives its files
        if self.socket is not None:
            self.socket.parent.mkdir(parents=True, exist_ok=True)
        service = self.path(options.wrapper or f"etc/service/{self.name}")
        promise = self.path(options.promise_wrapper or f"etc/promise/{self.name}")
        client = [str(options.cli_bin or options.server_bin.with_name("redis-cli")), "-e"]
        if self.socket is not None:
            client += ["-s", str(self.socket)]
        else:
            client += ["-h", options.address, "-p", str(options.port)]
        environment = {"REDISCLI_AUTH": self.password.reveal()} if self.password is not None else {}
        return [
            self.write(self.configuration, text, 0o600, private=True),
            write_script(
                self, service, [str(options.server_bin), str(self.configuration)], notes=[f"configuration {digest}"]
            ),
            self.write(promise, shell_script([*client, "PING"], environment), 0o700, private=True),
        ]

    def _configuration(self) -> str:
        options = self.options
        lines = ["daemonize no", 'logfile ""', "always-show-logo no", f"dir {_quoted(str(self.data))}"]
        if options.address:
            lines += [f"bind {options.address}", f"port {options.port}"]
        else:
            lines.append("port 0")
        if self.socket is not None:
            lines += [f"unixsocket {_quoted(str(self.socket))}", "unixsocketperm 700"]
        if self.password is not None:
            lines.append(f"requirepass {_quoted(self.password.reveal())}")
        lines += [f"maxmemory {options.maxmemory}", *_PERSISTENCE[options.persistence]]
        return "\n".join(lines) + "\n"

    def _url(self) -> str:
        """Return where clients go; the whole is a secret when there is a password in it."""
        secret = f":{quote(self.password.reveal(), safe='')}@" if self.password is not None else ""
        if self.options.address:
            host = f"[{self.options.address}]" if ":" in self.options.address else self.options.address
            url = f"redis://{secret}{host}:{self.options.port}/0"
        else:
            url = f"unix://{secret}{self.socket}?db=0"
        return self.run.tokens.token(Secret(url)) if secret else url

    def _check_address(self) -> None:
        options = self.options
        address = read_address("address", options.address)
        check_port("port", options.port)
        if not options.use_passwd and not address.is_loopback:
            raise OptionProblem("use-passwd", f"{options.address} is open to others", "Let it ask for a password")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
