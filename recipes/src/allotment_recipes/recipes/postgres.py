# SPDX-License-Identifier: Apache-2.0
"""Recipe ``postgres``: a PostgreSQL server with one database and its user."""

import hashlib
import pwd
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from allotment.codec import dumps
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem, Words, check_given_together, rest
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.listening import check_port, check_socket, read_address
from allotment_recipes.service_password import keep, service_password

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SETTING = re.compile(r"[a-z_][a-z0-9_.]*")
_OWN = {
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "include",
    "include_dir",
    "include_if_exists",
    "listen_addresses",
    "max_connections",
    "password_encryption",
    "port",
    "ssl",
    "ssl_cert_file",
    "ssl_key_file",
    "unix_socket_directories",
    "unix_socket_permissions",
}  # settings that decide who is let in, or that an option has


@dataclass(frozen=True)
class Options:
    bin: Path  # folder of PostgreSQL's programs
    dbname: str  # the database, made at the first start
    user: str = ""  # its owner, who logs in with the password; default: as the database
    password: Secret | None = None  # of user; default: made once and kept in etc/
    superuser: str = "postgres"  # who may do all; only the partition's user is let in as this, by the unix socket
    addresses: Words = Words(())  # to listen on, besides the unix socket
    port: int = 5432  # of the addresses
    pgdata_directory: Path | None = None  # the data; default: srv/ and the section's name
    socket_directory: Path | None = None  # of the unix socket; default: var/ and the section's name
    max_connections: int = 100  # clients at once
    cert_file: Path | None = None  # certificate: then clients that come by an address have to use TLS
    key_file: Path | None = None  # key of the certificate, private
    services: Path = Path("etc/service")  # folder of the service
    config: dict[str, str] = rest("config-")  # config-<name>: a setting of postgresql.conf, such as config-work_mem

    def __post_init__(self) -> None:
        check_given_together(cert_file=self.cert_file, key_file=self.key_file)


class Recipe(GenericBaseRecipe[Options]):
    """Run PostgreSQL. Others read ``${section:url}``, ``user``, ``password``, ``dbname`` and ``socket-directory``.

    The service makes the data where there is none; ``etc/run/<section>-database`` makes user and database when they are
    missing, and sets the password. Everybody has to give a password (SCRAM), but for the partition's user on the unix
    socket. Who is not on this machine is let in by TLS only. The data stays when the section goes.
    """

    def prepare(self) -> None:
        options = self.options
        self.user = options.user or options.dbname
        for option, name in (("dbname", options.dbname), ("user", self.user), ("superuser", options.superuser)):
            if not _NAME.fullmatch(name):
                raise OptionProblem(option, f"{name!r} is not a name", "Use small letters, digits and '_'")
        if self.user == options.superuser:
            raise OptionProblem("user", "is the superuser", "Let clients be somebody with fewer rights")
        for option, value in options.config.items():
            if not _SETTING.fullmatch(option):
                raise OptionProblem(f"config-{option}", "is not a setting's name", "Write it like config-work_mem")
            if option in _OWN:
                raise OptionProblem(f"config-{option}", "is what other options set", "Use those, such as addresses")
            if not value.isprintable():
                raise OptionProblem(f"config-{option}", "is not one line of text", "Write one line")
        if options.max_connections < 1:
            raise OptionProblem("max-connections", f"{options.max_connections} is not above zero", "Write it like 100")
        self._check_addresses()
        self.data = self.path(options.pgdata_directory or f"srv/{self.name}")
        self.socket = self.path(options.socket_directory or f"var/{self.name}")
        check_socket("socket-directory", f"{self.socket}/.s.PGSQL.{options.port}")
        self.password_file = self.path(f"etc/{self.name}.password")
        self.password = service_password("password", options.password, self.password_file)
        self.publish_option("user", self.user)
        self.publish_option("password", self.run.tokens.token(self.password))
        self.publish_option("url", self.run.tokens.token(Secret(self._url())))
        self.publish_option("pgdata-directory", self.data)
        self.publish_option("socket-directory", self.socket)

    def install(self) -> list[Path]:
        """Write configuration, service, what makes the database, and the promise."""
        if self.options.password is None:
            keep(self, self.password, self.password_file)
        folder = self.path(f"etc/{self.name}")
        texts = {
            "postgresql.conf": self._configuration(),
            "pg_hba.conf": self._who_is_let_in(),
            "pg_ident.conf": f'partition "{self._system_user()}" "{self.options.superuser}"\n',
        }
        digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()
        paths = [self.write(folder / name, text, 0o600) for name, text in texts.items()]
        sql = self.write(folder / "database.sql", self._sql(), 0o600, private=True)
        promise = PromiseFile("check_command_execute", {"command": shlex.join([*self._client(), "-c", "SELECT 1"])})
        service = self.path(self.options.services) / self.name
        return [
            *paths,
            sql,
            self.write(service, self._service(folder, digest), 0o700),
            self.write(f"etc/run/{self.name}-database", self._make_database(sql), 0o700),
            self.write(f"etc/promise/{self.name}.json", dumps(promise).decode() + "\n"),
        ]

    def _program(self, name: str) -> str:
        return str(self.options.bin / name)

    def _client(self) -> list[str]:
        place = ["-h", str(self.socket), "-p", str(self.options.port), "-U", self.options.superuser, "-d", "postgres"]
        return [self._program("psql"), "-X", "-q", "-w", *place]

    def _service(self, folder: Path, digest: str) -> str:
        files = [f"{word}_file={folder}/{name}" for word, name in _FILES]
        words = [self._program("postgres"), "-D", str(self.data), *(word for file in files for word in ("-c", file))]
        make = [self._program("initdb"), "-D", f"{self.data}.new", "-U", self.options.superuser, "-A", "reject"]
        make += ["-E", "UTF8", "--locale=C", "--no-instructions"]
        return f"""\
#!/bin/sh -e
# configuration {digest}
umask 077
# From the start: who is stopped while it starts the server stops that too.
trap '[ -z "$!" ] || kill -HUP $!' HUP
trap '[ -n "$!" ] || exit 0; kill -QUIT $!' QUIT
# INT, or it would wait until the last client has left; TERM before it, because what has just been forked ignores INT.
trap '[ -n "$!" ] || exit 0; kill -TERM $!; kill -INT $!' INT TERM
data={shlex.quote(str(self.data))}
mkdir -p "${{data%/*}}" {shlex.quote(str(self.socket))}
chmod 700 {shlex.quote(str(self.socket))}
if [ ! -e "$data/PG_VERSION" ]; then
  rm -rf "$data.new"  # of a start that was killed
  {shlex.join(make)}
  mv -T "$data.new" "$data"
fi
{shlex.join(words)} &
until wait $!; do
  kill -0 $! 2>/dev/null || exit 1
done
"""

    def _make_database(self, sql: Path) -> str:
        ready = [self._program("pg_isready"), "-q", "-h", str(self.socket), "-p", str(self.options.port)]
        return f"""\
#!/bin/sh -e
# {hashlib.sha256(self.run.tokens.reveal(self._sql()).encode()).hexdigest()}
left=600
until {shlex.join(ready)}; do
  left=$((left - 1))
  [ $left -gt 0 ] || {{ echo "PostgreSQL did not answer within two minutes" >&2; exit 1; }}
  sleep 0.2
done
exec {shlex.join([*self._client(), "-v", "ON_ERROR_STOP=1", "-f", str(sql)])}
"""

    def _sql(self) -> str:
        """Return what makes user and database; no error may bring the password to the server's log."""
        name, user = self.options.dbname, self.user
        password = _literal(self.password.reveal())
        return f"""\
SET log_min_error_statement = panic;
SET log_statement = none;
SET standard_conforming_strings = on;
SELECT 'CREATE ROLE "{user}"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') \\gexec
ALTER ROLE "{user}" LOGIN NOSUPERUSER NOCREATEROLE PASSWORD {password};
SELECT 'CREATE DATABASE "{name}" OWNER "{user}"'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec
REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;
"""

    def _configuration(self) -> str:
        options = self.options
        settings = {
            "listen_addresses": ",".join(options.addresses),
            "port": str(options.port),
            "unix_socket_directories": f'"{self.socket}"',
            "unix_socket_permissions": "0700",
            "max_connections": str(options.max_connections),
            "password_encryption": "scram-sha-256",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if options.cert_file and options.key_file:
            settings |= {"ssl": "on", "ssl_cert_file": str(self.path(options.cert_file))}
            settings["ssl_key_file"] = str(self.path(options.key_file))
        settings |= options.config
        return "".join(f"{name} = {_setting(value)}\n" for name, value in settings.items())

    def _who_is_let_in(self) -> str:
        options = self.options
        database = f'"{options.dbname}" "{self.user}"'
        remote = "hostssl" if options.cert_file else "host"
        lines = [
            f'local all "{options.superuser}" peer map=partition',
            f"local {database} scram-sha-256",
            *([f"{remote} {database} all scram-sha-256"] if options.addresses else []),
        ]
        return "\n".join(lines) + "\n"

    def _system_user(self) -> str:
        owner = self.folder.stat().st_uid
        try:
            return pwd.getpwuid(owner).pw_name
        except KeyError as error:
            raise OptionProblem("options", f"user {owner} of {self.folder} has no name", "Add the user") from error

    def _url(self) -> str:
        who = f"{self.user}:{quote(self.password.reveal(), safe='')}"
        port, name = self.options.port, self.options.dbname
        if not self.options.addresses:
            return f"postgresql://{who}@/{name}?host={quote(str(self.socket), safe='')}&port={port}"
        first = self.options.addresses[0]
        host = f"[{first}]" if ":" in first else first
        return f"postgresql://{who}@{host}:{port}/{name}"

    def _check_addresses(self) -> None:
        options = self.options
        check_port("port", options.port)
        for text in options.addresses:
            address = read_address("addresses", text)
            if not address.is_loopback and options.cert_file is None:
                raise OptionProblem("addresses", f"{text} is open to others", "Add cert-file and key-file")


_FILES = (("config", "postgresql.conf"), ("hba", "pg_hba.conf"), ("ident", "pg_ident.conf"))


def _literal(text: str) -> str:
    """Return a text as SQL wants it."""
    return "'" + text.replace("'", "''") + "'"


def _setting(text: str) -> str:
    """Return a text as postgresql.conf wants it, where a backslash has a meaning too."""
    return _literal(text.replace("\\", "\\\\"))
