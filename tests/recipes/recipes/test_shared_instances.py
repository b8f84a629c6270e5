# SPDX-License-Identifier: Apache-2.0
import json
import re
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState, SharedInstance
from allotment.secret import Secret
from allotment_recipes.recipes.shared_instances import Recipe
from allotment_recipes.shared_list import Row, SharedList
from allotment_recipes.testing import given_instance

SCHEMA = {
    "properties": {
        "domain": {"type": "string"},
        "size": {"type": "integer", "default": 1},
        "key": {"type": "string", "writeOnly": True},
    },
    "required": ["domain"],
    "additionalProperties": False,
}
PROFILE = """\
    [buildout]
    parts = tenants {more}
    [tenants]
    recipe = allotment.recipes:shared-instances
    database = var/tenants.sqlite
    release = web
    jsonschema = {software}/tenant.json
    {options}
    [wrong]
    recipe = allotment.recipes:template.jinja2
    inline = {{{{ nothing }}}}
    output = etc/wrong
    """
WRONG = "shared instance 'b': parameter domain is missing. Add domain."


class Tenants:
    """A partition with shared instances, each requested as a child."""

    def __init__(self, partition: Any) -> None:
        self.partition = partition
        (partition.software / "tenant.json").write_text(json.dumps(SCHEMA))

    def run(self, options: str = "", more: str = "", **shared: dict[str, Any]) -> Any:
        self.partition.shared = tuple(SharedInstance(name, parameters) for name, parameters in shared.items())
        profile = PROFILE.format(software=self.partition.software, options=options, more=more)
        return self.partition.run(profile)

    @property
    def children(self) -> dict[str, dict[str, Any]]:
        return {item.name.removeprefix("shared-"): dict(item.parameters) for item in self.partition.requests.requests}

    @property
    def errors(self) -> dict[str, tuple[str, ...]]:
        return dict(self.partition.published.shared_errors)

    def database(self, statement: str = "SELECT name, accepted, error FROM shared_instance ORDER BY name") -> Any:
        with sqlite3.connect(self.partition.folder / "var/tenants.sqlite") as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def tenants(partition: Any) -> Tenants:
    return Tenants(partition)


def test_each_becomes_a_child_and_the_child_goes_with_it(tenants: Tenants) -> None:
    assert tenants.run(a={"domain": "a.org"}, b={"domain": "b.org", "size": 2}).outcome == "done"
    assert tenants.children == {"a": {"domain": "a.org", "size": 1}, "b": {"domain": "b.org", "size": 2}}
    assert all(item.shared and item.release == "web" for item in tenants.partition.requests.requests)
    tenants.run(b={"domain": "c.org"})
    assert tenants.children == {"b": {"domain": "c.org", "size": 1}}
    assert tenants.database() == [("b", '{"domain":"c.org","size":1}', "")]


def test_an_owner_can_not_name_another_child(tenants: Tenants) -> None:
    own = "\n    ".join(["", "[backend]", "recipe = allotment.recipes:request", "name = backend", "release = shop"])
    tenants.partition.answers = {"backend": ChildAnswer(InstanceState.STARTED, {"key": Secret("s3same-open")})}
    assert tenants.run(own, more="backend", backend={"domain": "a.org"}).error == ""
    assert {item.name for item in tenants.partition.requests.requests} == {"backend", "shared-backend"}
    assert dict(tenants.partition.published.shared) == {}, "the owner gets nothing of the instance's own child"


def test_a_second_run_writes_nothing(tenants: Tenants) -> None:
    path = tenants.partition.folder / "var/tenants.sqlite"
    tenants.run(a={"domain": "a.org"})
    before = path.stat().st_mtime_ns, path.stat().st_ino
    tenants.run(a={"domain": "a.org"})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_what_a_child_publishes_reaches_its_owner_only(tenants: Tenants) -> None:
    answer = ChildAnswer(InstanceState.STARTED, {"url": "https://a.org/", "key": Secret("s3same-open")})
    tenants.partition.answers = {"shared-a": answer}
    assert tenants.run(a={"domain": "a.org"}, b={"domain": "b.org"}).outcome == "done"
    shared = tenants.partition.published.shared
    assert {name: dict(values) for name, values in shared.items()} == {"a": dict(answer.published)}
    tenants.run("return = url none", a={"domain": "a.org"})
    assert dict(tenants.partition.published.shared["a"]) == {"url": "https://a.org/"}


def test_wrong_parameters_are_told_and_the_last_right_ones_stay(tenants: Tenants) -> None:
    tenants.run(a={"domain": "a.org"}, b={})
    assert (tenants.errors, list(tenants.children)) == ({"b": (WRONG,)}, ["a"])
    tenants.run(a={"domain": "a.org"}, b={"domain": "b.org"})
    assert (tenants.errors, tenants.children["b"]) == ({}, {"domain": "b.org", "size": 1})
    tenants.run(a={"domain": "a.org"}, b={"size": 2})
    assert (tenants.errors, tenants.children["b"]) == ({"b": (WRONG,)}, {"domain": "b.org", "size": 1})
    tenants.run(a={"domain": "a.org"}, b={"size": 2})
    assert tenants.errors == {"b": (WRONG,)}, "also while nothing changes"


def test_only_what_changed_is_looked_at(tenants: Tenants) -> None:
    many = {f"tenant-{number}": {"domain": "a.org"} for number in range(1000)}
    tenants.run(**many)
    path = tenants.partition.folder / "var/tenants.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE shared_instance SET error = 'not looked at'")
    tenants.run(**{**many, "tenant-7": {"domain": "b.org"}})
    assert len(tenants.errors) == 999
    assert "tenant-7" not in tenants.errors
    assert len(tenants.children) == 1000
    schema = {**SCHEMA, "properties": {"domain": {"type": "string"}}}
    (tenants.partition.software / "tenant.json").write_text(json.dumps(schema))
    tenants.run(**many)
    assert tenants.errors == {}, "another schema is another question"


def test_a_run_that_fails_leaves_the_list_as_it_was(tenants: Tenants) -> None:
    tenants.run(a={"domain": "a.org"})
    before = tenants.database()
    assert tenants.run(more="wrong", b={"domain": "b.org"}).outcome == "failed"
    assert tenants.database() == before
    tenants.run(b={"domain": "b.org"})
    assert list(tenants.children) == ["b"]


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 500])
def test_a_damaged_list_is_made_anew(tenants: Tenants, data: bytes) -> None:
    tenants.run(a={"domain": "a.org"})
    (tenants.partition.folder / "var/tenants.sqlite").write_bytes(data)
    assert tenants.run(a={"domain": "a.org"}).outcome == "done"
    assert [row[0] for row in tenants.database()] == ["a"]


def test_a_list_of_another_format_is_made_anew(tenants: Tenants) -> None:
    tenants.run(a={"domain": "a.org"})
    tenants.database("PRAGMA user_version = 7")
    assert tenants.run(a={"domain": "a.org"}).outcome == "done"
    assert tenants.database("PRAGMA user_version") == [(1,)]


def test_a_secret_stays_one(tenants: Tenants) -> None:
    tenants.run(a={"domain": "a.org", "key": "s3same-open"})
    assert tenants.children["a"]["key"] == Secret("s3same-open")
    tenants.run(a={"domain": "a.org", "key": "s3same-open"})
    assert tenants.children["a"]["key"] == Secret("s3same-open"), "also out of the list"
    assert "s3same-open" not in tenants.partition.text(".installed.cfg")
    assert stat.S_IMODE((tenants.partition.folder / "var/tenants.sqlite").stat().st_mode) == 0o600


def test_every_option_is_asked_for(tenants: Tenants) -> None:
    options = "\n    ".join(
        [
            "software-type = small",
            "shared = false",
            "state = stopped",
            "request-name-prefix = child-of-",
            "config-common = !py!['x']",
            "config-size = 9",
            "sla-node = node-1",
        ]
    )
    tenants.run(options, a={"domain": "a.org"})
    (child,) = tenants.partition.requests.requests
    assert (child.name, child.software_type, child.shared) == ("child-of-a", "small", False)
    assert (child.state, dict(child.sla)) == (InstanceState.STOPPED, {"node": "node-1"})
    assert dict(child.parameters) == {"domain": "a.org", "size": "9", "common": ["x"]}


def test_the_list_and_the_children_go_with_the_section(tenants: Tenants) -> None:
    tenants.run(a={"domain": "a.org"})
    assert tenants.partition.run("[buildout]\nparts =\n").outcome == "done"
    assert tenants.children == {}
    assert not (tenants.partition.folder / "var/tenants.sqlite").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"release": ""}, "[part] database: missing option. Add 'database = ...'."),
        ({"database": "a", "release": ""}, "[part] release: is empty. Write the name of a release, or the sha256"),
        ({"database": "a"}, "[part] release: missing option."),
        ({"database": "a", "release": "r", "confg-x": "1"}, "[part] confg-x: unknown option. Did you mean 'config-'?"),
        ({"database": "a", "release": "r", "jsonschema": "none"}, "/none can't be read: No such file or directory."),
        ({"database": "a", "release": "r", "shared": "so"}, "[part] shared: 'so' is neither true nor false."),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Callable[..., Any], options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(Recipe, options, given_instance())


TEXT = st.text(st.characters(codec="utf-8"))
ROWS = st.dictionaries(TEXT, st.builds(Row, st.just(""), TEXT, TEXT, TEXT, TEXT), max_size=5)


@settings(max_examples=25, deadline=None)
@given(ROWS, ROWS)
def test_rows_come_back_as_they_were(first: dict[str, Row], second: dict[str, Row]) -> None:
    data: bytes | None = None
    for rows in (first, second):
        named = {name: replace(row, name=name) for name, row in rows.items()}
        data = SharedList(data).replace(named)
        assert SharedList(data).rows == named
        assert SharedList(data).replace(named) == data


@settings(max_examples=25, deadline=None)
@given(st.binary())
def test_whatever_the_file_holds_is_survived(data: bytes) -> None:
    assert SharedList(data).rows == {}
