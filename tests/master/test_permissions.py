# SPDX-License-Identifier: Apache-2.0
"""Every end point and every scope: allowed or refused exactly as docs/reference/permissions.md says."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/reference/permissions.md").read_text()
TABLE = {
    (method, path): frozenset(scopes.split(", "))
    for method, path, scopes in re.findall(r"^\| `([A-Z]+) (/api/\S+)` \| ([a-z, ]+) \|$", TEXT, re.MULTILINE)
}
SCOPES = ("admin", "user", "farm", "enrol", "node", "other node")


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database: what is asked here does not depend on it."""
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


def test_table_has_every_call_that_the_api_describes(site: Any) -> None:
    document = site.http.get("/api/v1/openapi.json").json()
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert set(TABLE) == described


def test_each_scope_is_let_in_or_refused_as_the_table_says(site: Any) -> None:
    site.tokens["node"] = site.house.add_node("node-1")
    site.tokens["other node"] = site.house.add_node("node-2")
    for (method, path), allowed in TABLE.items():
        for scope in SCOPES:
            role = "node" if scope == "other node" and "{node}" not in path else scope
            status = _call(site, method, path, scope)
            assert (status in (401, 403)) is (role not in allowed), (method, path, scope, status)
            assert status < 500, (method, path, scope)


@pytest.mark.parametrize("caller", ["anonymous", "nobody"])
def test_unknown_callers_are_told_to_send_a_token(site: Any, caller: str) -> None:
    for method, path in TABLE:
        assert _call(site, method, path, caller) == 401, (method, path)
    answer = site.call("GET", "/nodes", caller)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"error", "fix"}


@pytest.mark.parametrize("path", ["/", "/static/kit/base.css", "/static/master.css", "/api/v1/openapi.json"])
def test_public_addresses_need_no_token(site: Any, path: str) -> None:
    assert site.http.get(path).status_code == 200


def test_node_token_ends_when_the_node_is_registered_anew(site: Any) -> None:
    site.tokens["old"] = site.house.add_node("node-1")
    site.tokens["new"] = site.house.add_node("node-1")
    assert site.call("GET", "/nodes/node-1/desired", "old").status_code == 401
    assert site.call("GET", "/nodes/node-1/desired", "new").status_code == 200


def test_enrolment_can_not_take_over_a_node(site: Any) -> None:
    site.house.add_node("node-1")
    body = {"name": "node-1", "partitions": 1, "platform": "linux"}
    answer = site.call("POST", "/nodes", "enrol", body)
    assert answer.status_code == 409
    assert answer.json()["error"] == "node 'node-1' is registered"


def _call(site: Any, method: str, path: str, scope: str) -> int:
    address = path.removeprefix("/api/v1").format(node="node-1", sha256="0" * 64, name="one")
    status: int = site.call(method, address, scope, {} if method in ("POST", "PUT", "PATCH") else None).status_code
    return status
