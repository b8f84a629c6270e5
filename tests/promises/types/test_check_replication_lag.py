# SPDX-License-Identifier: Apache-2.0
"""Replicas of real servers, which are stopped, paused and cut off from their primaries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.secret import Secret
from allotment_promises import Measurement

Measure = Callable[..., Measurement]
Eventually = Callable[[Callable[[], object]], None]


def test_postgresql(
    measure: Measure, postgresql_server: Path, copy_postgresql: Callable[..., Path], eventually: Eventually
) -> None:
    psycopg = pytest.importorskip("psycopg")
    replica = copy_postgresql("-R")

    def tell(server: Path, *statements: str) -> None:
        with psycopg.connect(host=str(server), user="test", dbname="postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def check(**options: Any) -> Measurement:
        return measure("check_replication_lag", server="postgresql", socket=replica, user="test", **options)

    primary = measure("check_replication_lag", server="postgresql", socket=postgresql_server, user="test")
    assert (primary.is_passed, primary.message) == (False, f"{postgresql_server} is no replica")
    eventually(lambda: check().is_passed)
    assert check().metrics["lag"].unit == "s"
    tell(replica, "select pg_wal_replay_pause()")
    tell(postgresql_server, "create table if not exists growing as select 1", "drop table growing")
    eventually(lambda: check().metrics["behind"].value > 0)
    eventually(lambda: not check(maximum=0.1).is_passed)
    behind = check(maximum=0.1)
    assert behind.message.endswith(" s behind its primary, expected at most 0.1 s")
    assert check(maximum=3600).is_passed
    tell(replica, "select pg_wal_replay_resume()")
    eventually(lambda: check(maximum=0.1).is_passed)
    tell(replica, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
    eventually(lambda: check().message.endswith(" receives nothing from its primary"))


@pytest.mark.xdist_group("mariadb")
def test_mariadb(measure: Measure, start_mariadb: Callable[..., Any], free_port: int, eventually: Eventually) -> None:
    pymysql = pytest.importorskip("pymysql")
    address = ("--bind-address=127.0.0.1", f"--port={free_port}")
    primary = start_mariadb("primary", *address, "--server-id=1", "--log-bin=log").socket
    replica = start_mariadb("replica", "--skip-networking", "--server-id=2", "--relay-log=relay").socket

    def tell(server: Path, *statements: str) -> Any:
        connection = pymysql.connect(unix_socket=str(server), user="root", password="planted", autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def check(server: Path = replica, **options: Any) -> Measurement:
        login = {"user": "root", "password": Secret("planted")}
        return measure("check_replication_lag", server="mariadb", socket=server, **login, **options)

    assert check(primary).message == f"{primary} is no replica"
    tell(primary, "create user follower@'%' identified by 'word'", "grant replication slave on *.* to follower@'%'")
    change = f"change master to master_host='127.0.0.1', master_port={free_port}, master_user='follower'"
    tell(replica, f"{change}, master_password='word', master_use_gtid=slave_pos", "start slave")
    eventually(lambda: check().message == f"{replica} is 0.0 s behind its primary")
    tell(replica, "stop slave", "change master to master_delay=3600", "start slave")
    tell(primary, "create database slow")
    eventually(lambda: not check(maximum=1).is_passed and check(maximum=1).metrics["lag"].value > 1)
    assert check(maximum=1).message.endswith(" s behind its primary, expected at most 1 s")
    tell(replica, "stop slave sql_thread")
    assert check().message == f"{replica} does not follow 127.0.0.1: Slave_SQL_Running is No"
    tell(replica, "stop slave", "change master to master_delay=0", "start slave")
    tell(primary, "create table slow.thing (number int)")
    there = "select 1 from information_schema.tables where table_schema = 'slow' and table_name = 'thing'"
    eventually(lambda: tell(replica, there))
    tell(replica, "drop table slow.thing")
    tell(primary, "insert into slow.thing values (1)")
    eventually(lambda: "Table 'slow.thing' doesn't exist" in check().message)


def test_redis(measure: Measure, start_redis: Callable[..., Any], free_port: int, eventually: Eventually) -> None:
    primary = start_redis("--port", str(free_port), "--bind", "127.0.0.1")
    replica = start_redis("--replicaof", f"127.0.0.1 {free_port}").socket

    def check(server: Path = replica, **options: Any) -> Measurement:
        return measure("check_replication_lag", server="redis", socket=server, **options)

    assert check(primary.socket).message == f"{primary.socket} is no replica"
    eventually(lambda: check().is_passed)
    assert check().metrics["behind"].value == 0
    primary.end()
    eventually(lambda: not check().is_passed)
    assert check().message.startswith(f"{replica} has lost its primary 127.0.0.1:{free_port}")
