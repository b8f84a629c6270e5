# SPDX-License-Identifier: Apache-2.0
"""The API by HTTP: what is said of bodies, lists, long polls, blobs; and that nothing sent to it is a 5xx."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from allotment_master.kit.limits import BODY, HEADERS


def test_desired_state_is_answered_at_once_when_it_changes(site: Any) -> None:
    site.house.ready()
    sequence = site.call("GET", "/nodes/node-1/desired").json()["sequence"]
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(site.call, "GET", f"/nodes/node-1/desired?since={sequence}&wait=20")
        _until_waiting(site, "node/node-1")
        site.call("PUT", "/instances/one", body={"release": "hello"})
        answer = waiting.result(20)
    assert [item["name"] for item in answer.json()["partitions"]] == ["one"]
    assert time.monotonic() - began < 15


def test_change_by_another_master_is_found_by_asking(site: Any, make_house: Any) -> None:
    site.house.ready()
    sequence = site.call("GET", "/nodes/node-1/desired").json()["sequence"]
    other = make_house()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.call, "GET", f"/nodes/node-1/desired?since={sequence}&wait=20")
        _until_waiting(site, "node/node-1")
        other.request()
        assert waiting.result(20).status_code == 200


def test_unchanged_desired_state_is_304(site: Any) -> None:
    site.house.ready()
    sequence = site.call("GET", "/nodes/node-1/desired").json()["sequence"]
    answer = site.call("GET", f"/nodes/node-1/desired?since={sequence}&wait=0.05")
    assert (answer.status_code, answer.content) == (304, b"")


def test_events_come_as_they_happen(site: Any) -> None:
    last = site.call("GET", "/events").json()["last"]
    assert site.call("GET", f"/events?since={last}&wait=0.05").json() == {"items": [], "last": last}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.call, "GET", f"/events?since={last}&wait=20")
        _until_waiting(site, "events")
        site.house.add_node()
        kinds = [item["kind"] for item in waiting.result(20).json()["items"]]
    assert kinds[0] == "node.registered"


def test_lists_come_in_pages_and_unchanged_ones_as_304(site: Any) -> None:
    site.house.ready(partitions=5)
    for number in range(5):
        site.house.request(f"i{number}")
    names, after = [], ""
    while True:
        page = site.call("GET", f"/instances?limit=2&after={after}").json()
        names += [item["name"] for item in page["items"]]
        after = page["next"]
        if not after:
            break
    assert names == [f"i{number}" for number in range(5)]
    first = site.call("GET", "/instances")
    tag = {**site.headers("admin"), "If-None-Match": first.headers["etag"]}
    assert site.http.get("/api/v1/instances", headers=tag).status_code == 304
    site.house.set_state("i0", "stopped")
    assert site.http.get("/api/v1/instances", headers=tag).status_code == 200


@pytest.mark.parametrize("what", ["nodes", "releases", "supplies"])
def test_other_lists_come_in_pages_too(site: Any, what: str) -> None:
    site.house.add_release()
    site.house.add_release(licences=("MIT",))
    for name in ("a", "b"):
        site.house.add_node(name)
        site.house.supply(name)
    first = site.call("GET", f"/{what}?limit=1").json()
    second = site.call("GET", f"/{what}?limit=1&after={first['next']}").json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (1, 1, "")
    assert first["items"] != second["items"]


def test_blob_comes_back_as_it_was_and_under_its_own_hash_only(site: Any) -> None:
    data = b"bytes" * 300_000
    sha256 = hashlib.sha256(data).hexdigest()
    head = site.headers("farm")
    assert site.http.put(f"/api/v1/blobs/{sha256}", content=data, headers=head).status_code == 201
    assert site.call("GET", f"/blobs/{sha256}", "user").content == data
    answer = site.http.put(f"/api/v1/blobs/{'0' * 64}", content=data, headers=head)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"the sha256 should be {'0' * 64} but is {sha256}"
    assert site.call("HEAD", f"/blobs/{'0' * 64}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "error", "fix"),
    [
        (b"{", 422, "ServiceRequest is not JSON", "Write a JSON object"),
        (
            b'{"release": "a", "relase": 1}',
            422,
            "ServiceRequest has an unknown field 'relase'",
            "Did you mean 'release'?",
        ),
        (b"{}", 422, "ServiceRequest lacks the field 'release'", "Add release"),
        (b'{"release": NaN}', 422, "ServiceRequest is not JSON: NaN is no JSON number", "Write a JSON object"),
        (b'{"release": "\\u0000"}', 422, "ServiceRequest holds a NUL character", "Leave it out"),
        (b'{"release": "\\ud800"}', 422, "ServiceRequest is not JSON", "Write a JSON object"),
        (
            b'{"release": "a", "parameters": {"x": ' + b"[" * 900 + b"]" * 900 + b"}}",
            422,
            "ServiceRequest is nested more than 64 deep",
            "Write it flatter",
        ),
        (b'{"release": "a", "parameters": {"x": ' + b"[" * 90000 + b"]" * 90000 + b"}}", 422, "ServiceRequest is", ""),
        (b" " * (BODY + 1), 413, f"the body is larger than {BODY} bytes", "Send less"),
    ],
)
def test_wrong_body_is_refused_with_what_to_do(site: Any, body: bytes, status: int, error: str, fix: str) -> None:
    answer = site.http.put("/api/v1/instances/one", content=body, headers=site.headers("user"))
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(error)
    assert answer.json()["fix"].startswith(fix)


def test_no_depth_of_nesting_is_a_server_error(site: Any) -> None:
    site.house.ready()
    for depth in (20, 55, 60, 61, 62, 63, 64, 65, 100, 350, 900):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            nested = opening * depth + b"1" + closing * depth
            body = b'{"release": "hello", "parameters": {"nested": {"deep": ' + nested + b"}}}"
            answer = site.http.put("/api/v1/instances/one", content=body, headers=site.headers("user"))
            assert answer.status_code == 422, (depth, answer.text)


def test_body_without_a_length_is_limited_as_well(site: Any) -> None:
    answer = site.http.put("/api/v1/instances/one", content=iter([b" " * (1 << 20)] * 5), headers=site.headers("user"))
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/nothing", "/api/v1/nodes", "/static/kit/base.css"])
def test_every_answer_has_the_security_headers(site: Any, path: str) -> None:
    answer = site.http.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_unexpected_error_is_numbered_and_hides_its_cause(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.house.master, "instance", lambda name: 1 // 0)
    answer = site.call("GET", "/instances/one")
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("this is a bug; the log has it as error ")
    assert "content-security-policy" in answer.headers


def test_nothing_that_is_sent_to_the_api_is_a_server_error(site: Any) -> None:
    site.house.ready()
    site.house.request()
    schema = schemathesis.openapi.from_dict(site.http.get("/api/v1/openapi.json").json())
    calls = [result.ok() for result in schema.get_all_operations()]
    assert len(calls) > 15
    failed: list[str] = []

    def send(case: Any) -> None:
        whole = case.as_transport_kwargs(base_url="http://testserver")
        arguments = {key: whole[key] for key in ("json", "data", "params") if whole.get(key) is not None}
        if "data" in arguments:
            arguments["content"] = arguments.pop("data")
        if "wait" in (arguments.get("params") or {}):
            arguments["params"]["wait"] = 0
        answer = site.http.request(whole["method"], whole["url"], headers=site.headers("admin"), **arguments)
        if answer.status_code >= 500:
            failed.append(f"{case.method} {case.path} {arguments} {answer.text}")

    bounded = settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for call in calls:
        bounded(given(case=call.as_strategy())(send))()
    assert not failed, failed[:3]


def _until_waiting(site: Any, topic: str) -> None:
    """Wait, bounded, until a long poll of a topic is in its wait."""
    end = time.monotonic() + 10
    while topic not in site.http.app.wakeup._waiters:
        assert time.monotonic() < end
        threading.Event().wait(0.01)
