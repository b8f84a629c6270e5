# SPDX-License-Identifier: Apache-2.0
"""The JSON API, from the real process."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest


def every(client: httpx2.Client, path: str, **query: object) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    following: dict[str, object] = {}
    while True:
        page = client.get(path, params={**query, **following}).json()
        items += page["items"]
        if not page["next"]:
            return items
        following = {"before": page["next"]}


def test_projects_are_listed_without_passwords(client: httpx2.Client) -> None:
    items = client.get("/api/v1/projects").json()["items"]
    assert [(item["name"], item["repository"]) for item in items] == [
        ("allotment", "https://git.example.org/allotment.git"),
        ("hello", "/srv/git/hello"),
    ]


def test_pages_of_lists_add_up(client: httpx2.Client) -> None:
    revisions = every(client, "/api/v1/revisions", project="allotment", limit=33)
    assert [item["position"] for item in revisions] == list(range(100, 0, -1))
    jobs = every(client, "/api/v1/jobs", release="nginx", limit=40)
    assert len(jobs) == 100 and {item["release"] for item in jobs} == {"nginx"}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state": "leased"}, 1),
        ({"state": "waiting"}, 1),
        ({"project": "hello"}, 9),
        ({"project": "hello", "colour": "red", "release": "nothing"}, 0),
    ],
)
def test_jobs_are_filtered(client: httpx2.Client, query: dict[str, str], count: int) -> None:
    assert len(every(client, "/api/v1/jobs", **query)) == count


def test_jobs_of_a_revision(client: httpx2.Client, sample: Any) -> None:
    jobs = client.get("/api/v1/jobs", params={"revision": sample.hostile_commit}).json()["items"]
    assert len(jobs) == 20
    revision = client.get(f"/api/v1/revisions/{sample.hostile_commit[:8]}").json()
    assert revision["commit"] == sample.hostile_commit


def test_a_job_comes_with_its_attempts_steps_and_cases(client: httpx2.Client, sample: Any) -> None:
    job = client.get(f"/api/v1/jobs/{sample.red}").json()
    assert job["job"]["verdict"]["name"] == "new-failure"
    assert [item["outcome"] for item in job["attempts"]] == ["lost", "infrastructure", "failed"]
    assert len(job["attempts"][2]["cases"]) == 8
    assert [step["name"] for step in job["attempts"][2]["steps"]] == [
        "source",
        "build",
        "instance",
        "promises",
        "tests",
    ]


def test_a_log_is_read_from_an_offset(client: httpx2.Client, sample: Any) -> None:
    path = f"/api/v1/jobs/{sample.green}/log"
    whole = client.get(path)
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"
    size = int(whole.headers["log-size"])
    assert (whole.text, size) == ("building\nbuilt\n7 passed in 5.10s\n", len(whole.content))
    assert client.get(path, params={"offset": 9}).text == "built\n7 passed in 5.10s\n"
    for offset in (size, size + 1000, 2**62):
        end = client.get(path, params={"offset": offset})
        assert (end.content, end.headers["log-size"]) == (b"", str(size))
    assert client.get(f"/api/v1/jobs/{sample.waiting}/log").content == b""
    assert client.get(f"/api/v1/jobs/{sample.red}/log", params={"attempt": 1}).text == "the first attempt\n"


def test_the_matrix_is_the_results_page_as_data(client: httpx2.Client) -> None:
    first = client.get("/api/v1/matrix", params={"revisions": 60}).json()
    assert len(first["matrix"]["rows"]) == len(first["status"]) == 20 + 1
    assert all(len(row["cells"]) == 60 for row in first["matrix"]["rows"])
    second = client.get("/api/v1/matrix", params={"revisions": 60, "before": first["next"]}).json()
    assert len(second["matrix"]["revisions"]) == 40 and second["next"] == ""


def test_nodes_are_listed(client: httpx2.Client, sample: Any) -> None:
    first, second, third = client.get("/api/v1/nodes").json()["items"]
    assert first["current"] == [{"id": sample.running, "release": "kvm", "attempt": 1}]
    assert (second["is_connected"], third["is_connected"]) == (True, False)


def test_a_release_is_read_over_time(client: httpx2.Client, sample: Any) -> None:
    releases = client.get("/api/v1/releases").json()["items"]
    assert [item["release"] for item in releases if item["verdict"]["colour"] == "red"] == ["nginx"]
    first = client.get("/api/v1/releases/nginx", params={"limit": 60}).json()
    second = client.get("/api/v1/releases/nginx", params={"limit": 60, "before": first["next"]}).json()
    assert [len(first["items"]), len(second["items"]), second["next"]] == [60, 40, ""]
    assert first["items"][0]["id"] == sample.red
    assert len(client.get("/api/v1/releases/kvm", params={"kind": "from-scratch"}).json()["items"]) == 3


def test_the_queue_is_read(client: httpx2.Client, sample: Any) -> None:
    queue = client.get("/api/v1/queue").json()
    assert [(item["job"]["id"], item["step"]) for item in queue["running"]] == [(sample.running, "instance")]
    assert [item["job"]["id"] for item in queue["waiting"]] == [sample.waiting] and queue["waits"] == 1
    assert queue["waiting"][0]["why"]["fitting"] == 2


def test_every_json_answer_has_an_etag_and_is_not_sent_twice(client: httpx2.Client, sample: Any) -> None:
    named = {"number": sample.red, "commit": sample.hostile_commit, "release": "nginx"}
    (attempt,) = client.get(f"/api/v1/jobs/{sample.green}").json()["attempts"]
    without, count = [], 0
    for path, methods in client.get("/api/v1/openapi.json").json()["paths"].items():
        if "application/json" not in methods["get"]["responses"]["200"]["content"]:
            continue  # a log's bytes, which are asked for by their place
        address = path.format(**named, sha256=attempt["manifest"])
        answer = client.get(address)
        again = client.get(address, headers={"If-None-Match": answer.headers.get("etag", "")})
        count += 1
        if (answer.status_code, again.status_code, again.content) != (200, 304, b""):
            without.append(path)
    assert (without, count > 10) == ([], True)


def test_what_reproduces_a_job_is_told(client: httpx2.Client, sample: Any) -> None:
    red = client.get(f"/api/v1/jobs/{sample.red}/reproduction").json()
    job = client.get(f"/api/v1/jobs/{sample.red}").json()
    assert red["job"]["revision"] == job["revision"]["commit"]
    assert red["repository"] == "https://user@git.example.org/allotment.git"  # without the password
    assert red["job"]["profile"] == job["job"]["profile"]
    assert (red["cases"], red["outcome"]) == (job["attempts"][-1]["cases"], "failed")
    assert client.get(f"/api/v1/jobs/{sample.waiting}/reproduction").json()["outcome"] is None
    assert client.get("/api/v1/jobs/999999/reproduction").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "error", "fix"),
    [
        ("jobs/999999", 404, "there is no job 999999", "Look at /api/v1/jobs"),
        ("jobs/999999/log", 404, "there is no job 999999", "Look at /api/v1/jobs"),
        (f"manifests/{'0' * 64}", 404, f"there is no manifest {'0' * 64}", "Only green jobs have one"),
        ("jobs?state=asleep", 422, "query state: Input should be 'waiting', 'leased' or 'done'", "Correct it"),
        ("jobs?limit=1001", 422, "query limit: Input should be less than or equal to 1000", "Correct it"),
        ("revisions?project=none", 404, "there is no project 'none'", "Look at /api/v1/projects"),
        ("nothing", 404, "/api/v1/nothing: Not Found", ""),
    ],
)
def test_errors_say_what_and_how_to_mend_it(
    client: httpx2.Client, path: str, status: int, error: str, fix: str
) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()) == (status, {"error": error, "fix": fix})


def test_an_attempt_that_was_not_made_is_named(client: httpx2.Client, sample: Any) -> None:
    answer = client.get(f"/api/v1/jobs/{sample.red}/log", params={"attempt": 9})
    assert answer.json()["error"] == f"there is no attempt 9 of job {sample.red}"


def test_every_address_is_described(client: httpx2.Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/v1/projects",
        "/api/v1/revisions",
        "/api/v1/revisions/{commit}",
        "/api/v1/jobs",
        "/api/v1/jobs/{number}",
        "/api/v1/jobs/{number}/log",
        "/api/v1/jobs/{number}/reproduction",
        "/api/v1/jobs/{number}/log/lines",
        "/api/v1/jobs/{number}/log/live",
        "/api/v1/nodes",
        "/api/v1/matrix",
        "/api/v1/queue",
        "/api/v1/releases",
        "/api/v1/releases/{release}",
        "/api/v1/manifests/{sha256}",
    }
    assert all("get" in methods and len(methods) == 1 for methods in document["paths"].values())
    assert {"JobDetail", "JobSummary", "Verdict", "Step"} <= set(document["components"]["schemas"])


def test_no_answer_is_lost_among_many_readers(client: httpx2.Client) -> None:
    def read(_: int) -> tuple[int, int]:
        answer = client.get("/api/v1/jobs", params={"limit": 100})
        return answer.status_code, len(answer.json()["items"])

    with ThreadPoolExecutor(20) as readers:
        assert set(readers.map(read, range(200))) == {(200, 100)}


def test_nothing_can_be_written(client: httpx2.Client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert client.request(method, "/api/v1/jobs").status_code == 405
