# SPDX-License-Identifier: Apache-2.0
"""The recipes of services in a real profile: what they write, what stays secret, and what goes with their sections."""

from pathlib import Path
from typing import Any

PROFILE = """\
    [buildout]
    extends = {stack}
    parts = {parts}

    [key-value]
    recipe = allotment.recipes:redis
    server-bin = /usr/bin/redis-server
    address = 127.0.0.1

    [database]
    recipe = allotment.recipes:postgres
    bin = /usr/lib/postgresql/bin
    dbname = shop
    socket-directory = /tmp/shop

    [files]
    recipe = allotment.recipes:simplehttpserver
    base-path = ${{directory:var}}/www
    abstract = shop

    [certificate]
    <= ca-certificate
    key-file = ${{directory:etc}}/site.key
    cert-file = ${{directory:etc}}/site.crt
    ca-path = ${{directory:etc}}/ca

    [upgrade]
    recipe = allotment.recipes:mariadb.update
    binary = mariadb-upgrade
    mysql = mariadb
    output = ${{directory:etc}}/run/upgrade

    [job]
    <= cron-entry
    time = weekly
    command = true

    [is-up]
    <= promise
    promise = check_socket_listening
    failures = 3
    config-host = 127.0.0.1
    config-port = 6379

    [publish]
    recipe = allotment.recipes:publish
    database = ${{database:url}}
    key-value = ${{key-value:url}}
"""
STACK = Path(__file__).parents[3] / "software/stack/instance.cfg"
EVERYTHING = "files certificate upgrade job is-up publish"
DATA = {"etc/database.password", "etc/key-value.password"}


def test_services_come_stay_the_same_and_go_but_for_their_data(partition: Any) -> None:
    result = partition.run(PROFILE.format(stack=STACK, parts=EVERYTHING))
    assert result.outcome == "done", result.error
    first = partition.files()
    expected = {"certificate", "cron", "database", "files", "key-value"}
    names = {name.rpartition("/")[2] for name in first if name.startswith(("etc/service/", "etc/cron.d/"))}
    assert names == (expected - {"certificate"}) | {"certificate-certificate", "job"}
    assert {name for name in first if name.startswith("etc/run/")} == {
        "etc/run/certificate-certificate",
        "etc/run/database-database",
        "etc/run/upgrade",
    }
    assert partition.run(PROFILE.format(stack=STACK, parts=EVERYTHING)).outcome == "done"
    assert partition.files() == first
    for name in DATA:
        password = first[name].strip()
        assert password not in first[".installed.cfg"]
        assert password not in partition.log.read_bytes()
    published = partition.published.values
    assert published["database"].reveal().startswith("postgresql://shop:")
    assert published["key-value"].reveal().startswith("redis://:")
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert partition.files().keys() - {".installed.cfg"} == DATA
