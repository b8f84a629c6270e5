# SPDX-License-Identifier: Apache-2.0
"""The recipe ``mariadb.update``, with a real MariaDB."""

import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.recipes import mariadb_update

Make = Callable[..., Any]
DAEMON = shutil.which("mariadbd") or "/usr/sbin/mariadbd"  # which is not on every user's PATH


class Server:
    """A MariaDB in a folder; stopped at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.log = (folder / "log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        user = folder.owner()
        words = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", f"--user={user}", "--skip-test-db"]
        subprocess.run(
            # Temporary tables in a folder of its own: a server that starts removes those of all others there.
            [*words, f"--tmpdir={folder}", "--auth-root-authentication-method=normal"],
            stdout=self.log,
            stderr=self.log,
            check=True,
            timeout=110,
        )
        self.words = [
            DAEMON,
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--socket={self.socket}",
            "--skip-networking",
        ]
        self.words += [f"--user={user}", f"--pid-file={folder}/pid", f"--tmpdir={folder}"]

    def start(self) -> None:
        self.process = subprocess.Popen(self.words, stdout=self.log, stderr=self.log)

    def ask(self, statement: str) -> str:
        words = ["mariadb", "--no-defaults", "-S", str(self.socket), "-u", "root", "-N", "-e", statement]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.log.close()


@pytest.fixture
def server(short_path: Path) -> Iterator[Server]:
    if not all(map(shutil.which, (DAEMON, "mariadb-install-db", "mariadb-upgrade", "mariadb"))):
        pytest.skip("needs MariaDB")
    made = Server(short_path)
    yield made
    made.end()


def test_it_waits_for_the_server_and_may_be_run_again(make_recipe: Make, tmp_path: Path, server: Server) -> None:
    reach = f"--no-defaults -S {server.socket} -u root"
    (tmp_path / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS `shop's`;\n")
    options = {"binary": f"mariadb-upgrade {reach}", "mysql": f"mariadb {reach}", "init-script": "init.sql"}
    (script,) = make_recipe(mariadb_update.Recipe, {**options, "output": "etc/run/update", "interval": "0.1"}).install()
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    said = tmp_path / "said"
    with said.open("wb") as output, subprocess.Popen([script], stdout=output, stderr=output) as waiting:
        until(lambda: "Can't connect to local server" in said.read_text())  # what the programs say is passed on
        assert waiting.poll() is None
        server.start()
        assert waiting.wait(100) == 0, said.read_text()
    assert "shop's" in server.ask("SHOW DATABASES")
    again = subprocess.run([script], capture_output=True, text=True, timeout=100, check=True)
    assert "already upgraded" in again.stdout + again.stderr
    (tmp_path / "init.sql").write_text("CREATE NONSENSE;\n")
    (script,) = make_recipe(
        mariadb_update.Recipe, {**options, "output": "etc/run/update", "interval": "0", "tries": "2"}
    ).install()
    failed = subprocess.run([script], capture_output=True, text=True, timeout=100, check=False)
    assert failed.returncode == 1
    assert failed.stderr.count("ERROR 1064") == 2
    assert failed.stderr.endswith("gave up after 2 tries\n")


def test_a_change_of_the_statements_runs_them_again(make_recipe: Make, tmp_path: Path) -> None:
    texts = []
    for statement in ("one", "two", "two"):
        (tmp_path / "init.sql").write_text(statement)
        options = {"binary": "u", "mysql": "m", "init-script": "init.sql", "output": "run"}
        made = make_recipe(mariadb_update.Recipe, options)
        assert made.install() == [tmp_path / "run"] == made.update()
        texts.append((tmp_path / "run").read_text())
    assert texts[0] != texts[1] == texts[2]
    assert made.raw["output"] == str(tmp_path / "run")


def test_without_statements_only_the_tables_are_upgraded(make_recipe: Make, tmp_path: Path) -> None:
    options = {"binary": "echo upgraded", "mysql": "false", "output": "run"}
    (script,) = make_recipe(mariadb_update.Recipe, options).install()
    assert subprocess.run([script], capture_output=True, check=True, timeout=60).stdout == b"upgraded\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binary": ""}, "[part] binary: is empty. Write a program and its arguments."),
        ({"tries": "0"}, "[part] tries: 0 is not above zero. Write it like 600."),
        ({"interval": "-1"}, "[part] interval: -1 is below zero. Write seconds, like 1."),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(mariadb_update.Recipe, {"binary": "u", "mysql": "m", "output": "run", **options})
    assert str(caught.value) == message


def test_statements_that_are_missing_are_named(make_recipe: Make, tmp_path: Path) -> None:
    options = {"binary": "u", "mysql": "m", "init-script": "init.sql", "output": "run"}
    with pytest.raises(AllotmentError) as caught:
        make_recipe(mariadb_update.Recipe, options).install()
    assert str(caught.value) == (
        f"[part] init-script: {tmp_path}/init.sql can't be read: No such file or directory."
        " Let the part that writes it come first, by referring to it."
    )
