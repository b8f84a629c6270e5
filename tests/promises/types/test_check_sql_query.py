# SPDX-License-Identifier: Apache-2.0

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_promises import GenericPromise, Measurement

Ask = Callable[..., Measurement]


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.xdist_group("mariadb"))])
def ask(request: pytest.FixtureRequest, measure: Callable[..., Measurement], tmp_path: Path) -> Ask:
    """Run a query on each kind of database."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "data.sqlite") as connection:
            connection.execute("create table thing (number integer)")
        where: dict[str, Any] = {"file": "data.sqlite"}
    elif request.param == "postgresql":
        folder = request.getfixturevalue("postgresql_server")
        where = {"socket": folder, "user": "test", "database": "postgres"}
    else:
        folder = request.getfixturevalue("mariadb")
        where = {"socket": folder / "socket", "user": "root", "password": Secret("planted"), "database": "mysql"}
    return lambda query, **options: measure(
        "check_sql_query", **{"server": request.param, "query": query, **where, **options}
    )


def found(measured: Measurement) -> tuple[bool, str]:
    return measured.is_passed, measured.message.partition(": ")[2]


def test_any_row_passes_unless_more_is_expected(ask: Ask) -> None:
    measured = ask("select 7")
    assert found(measured) == (True, "the query gives 7")
    assert 0 < measured.metrics["seconds"].value < 5
    assert measured.metrics["value"].value == 7
    assert found(ask("select 7 where 1 = 2")) == (False, "the query gives no row")


def test_numbers_are_held_to_limits(ask: Ask) -> None:
    assert ask("select 7", minimum=7, maximum=7).is_passed
    assert found(ask("select 7", maximum="6.5")) == (False, "the query gives 7, expected at most 6.5")
    assert ask("select 1.5", minimum=1.5).is_passed
    assert found(ask("select 'many'", minimum=1)) == (False, "the query gives many, expected a number")
    assert found(ask("select null", minimum=1)) == (False, "the query gives NULL, expected a number")


def test_texts_are_compared(ask: Ask) -> None:
    assert ask("select 'ready', 2", expected="ready").is_passed
    assert found(ask("select 'starting'", expected="ready")) == (False, "the query gives starting, expected ready")
    assert ask("select null", expected="NULL").is_passed
    assert "value" not in ask("select 'x'").metrics


def test_nothing_can_be_changed(ask: Ask) -> None:
    measured = ask("create table other (number integer)")
    assert not measured.is_passed
    assert "read" in measured.message.lower(), measured.message


def test_a_wrong_query_fails_in_one_line(ask: Ask) -> None:
    measured = ask("select number from nowhere")
    assert not measured.is_passed
    assert "nowhere" in measured.message
    assert "\n" not in measured.message


def test_a_slow_query_is_ended(ask: Ask, request: pytest.FixtureRequest) -> None:
    slow = {
        "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
        "postgresql": "select pg_sleep(60)",
        "mariadb": "select sleep(60)",
    }
    measured = ask(slow[request.node.callspec.params["ask"]], timeout=0.3)
    assert not measured.is_passed
    assert "interrupted" in measured.message or "statement timeout" in measured.message, "the server itself ends it"


def test_truth_is_a_word(measure: Callable[..., Measurement], postgresql_server: Path) -> None:
    where = {"server": "postgresql", "socket": postgresql_server, "user": "test", "database": "postgres"}
    assert measure("check_sql_query", **where, query="select pg_is_in_recovery()", expected="false").is_passed
    age = measure("check_sql_query", **where, query="select interval '2 minutes'", maximum=119)
    assert found(age) == (False, "the query gives 0:02:00, expected at most 119")


@pytest.mark.xdist_group("mariadb")
def test_a_wrong_password_fails_and_is_not_told(measure: Callable[..., Measurement], mariadb: Path) -> None:
    where = {"server": "mariadb", "socket": mariadb / "socket", "user": "root", "password": Secret("guessed")}
    measured = measure("check_sql_query", **where, query="select 1")
    assert not measured.is_passed
    assert "Access denied" in measured.message
    assert "guessed" not in measured.message


def test_postgresql_is_asked_by_tls_that_is_verified(
    measure: Callable[..., Measurement],
    copy_postgresql: Callable[..., Path],
    authority: trustme.CA,
    ca_file: Path,
    free_port: int,
) -> None:
    leaf = authority.issue_cert("127.0.0.1")
    files = {"server.crt": leaf.cert_chain_pems[0].bytes(), "server.key": leaf.private_key_pem.bytes()}
    copy_postgresql(options=f"-c ssl=on -c listen_addresses=127.0.0.1 -p {free_port}", files=files)
    where = {"server": "postgresql", "host": "127.0.0.1", "port": free_port, "user": "test", "database": "postgres"}
    query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    assert measure("check_sql_query", **where, query=query, ca=ca_file.name, expected="true").is_passed
    assert_only_trusted_by_its_authority(measure, where, tmp_path=ca_file.parent)


@pytest.mark.xdist_group("mariadb")
def test_mariadb_is_asked_by_tls_that_is_verified(
    measure: Callable[..., Measurement],
    start_mariadb: Callable[..., Any],
    authority: trustme.CA,
    ca_file: Path,
    free_port: int,
    tmp_path: Path,
) -> None:
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    tls = (f"--ssl-cert={tmp_path}/both.pem", f"--ssl-key={tmp_path}/both.pem")
    folder = start_mariadb("tls", "--bind-address=127.0.0.1", f"--port={free_port}", *tls).folder
    login = {"server": "mariadb", "user": "root", "password": Secret("planted")}
    where = {**login, "host": "127.0.0.1", "port": free_port}
    query = "select variable_value from information_schema.session_status where variable_name = 'ssl_version'"
    assert measure("check_sql_query", **login, socket=folder / "socket", query=query).message.endswith("gives ")
    assert measure("check_sql_query", **where, query=query, ca=ca_file.name, expected="TLSv1.3").is_passed
    assert_only_trusted_by_its_authority(measure, where, tmp_path)


def assert_only_trusted_by_its_authority(
    measure: Callable[..., Measurement], where: dict[str, Any], tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    other = measure("check_sql_query", **where, query="select 1", ca="other.pem")
    assert not other.is_passed
    assert "certificate verify failed" in other.message


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_server_that_is_away_fails(measure: Callable[..., Measurement], server: str, free_port: int) -> None:
    measured = measure("check_sql_query", server=server, host="127.0.0.1", port=free_port, query="select 1")
    assert not measured.is_passed
    assert measured.message.startswith(f"127.0.0.1:{free_port}: ")
    assert "refused" in measured.message


def test_a_file_that_is_away_fails_and_is_not_made(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    measured = measure("check_sql_query", server="sqlite", file="none.sqlite", query="select 1")
    assert measured == Measurement.failed("none.sqlite: unable to open database file")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "oracle", "query": "q"}, "server: 'oracle' is not one of its values. "),
        ({"server": "postgresql", "query": "q"}, "host, socket: none of them is given. Give one of them."),
        ({"server": "postgresql", "query": "q", "host": "h", "port": 0}, "port: 0 is no TCP port. "),
        (
            {"server": "postgresql", "query": "q", "socket": "s", "port": 1},
            "socket, port, ca: a unix socket has neither port nor TLS. Remove them.",
        ),
        ({"server": "sqlite", "query": "q", "host": "h"}, "file: missing option. Say where the database is."),
        (
            {"server": "mariadb", "query": "q", "host": "h", "file": "f"},
            "file, server: mariadb is not asked by a file. Remove one of the two.",
        ),
        ({"server": "sqlite", "query": " ", "file": "f"}, "query: is empty. Write it like 'select 1'."),
        (
            {"server": "sqlite", "query": "q", "file": "f", "expected": "1", "minimum": 1},
            "expected, minimum, maximum: a value is expected, or a number within limits. Choose.",
        ),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_sql_query", **options)
    assert str(caught.value).startswith(message)
