# SPDX-License-Identifier: Apache-2.0
"""The pages as a browser without scripts gets them, from the real process."""

import gzip
import html
import itertools
import json
import re
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

HOSTILE = "<script>alert('owned')</script>\"><img src=x onerror=alert(1)>"
_SCRIPTS = tuple(f"/static/{name}.js" for name in ("refresh", "grid", "log"))
_LATE: tuple[dict[str, str | None], ...] = ({"defer": None}, {"type": "module"})  # both run when the page is there
FIRST_BYTE = 0.050  # seconds, of the results page with 20 releases x 100 revisions


class Page(HTMLParser):
    """A page's text, and what of it could run or load something."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]


def get(client: httpx2.Client, path: str, status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


@pytest.fixture
def addresses(sample: Any) -> list[str]:
    numbers = (sample.red, sample.green, sample.running, sample.waiting, sample.hostile, sample.long, sample.proved)
    jobs = [f"/jobs/{number}" for number in numbers]
    shown = [
        "/",
        "/?revisions=100",
        "/?project=hello",
        "/nodes",
        "/queue",
        "/releases/nginx",
        "/releases/kvm?before=90",
    ]
    return [*shown, f"/revisions/{sample.hostile_commit}", *jobs]


def test_results_say_first_whether_it_is_green_and_since_when_it_is_red(client: httpx2.Client, sample: Any) -> None:
    text = get(client, "/").text
    assert "1 of 20 releases is red" in text
    assert re.search(
        r"nginx new failure: 2 of 8 test cases failed, the first test_dead_backend_is_left_out "
        r"red since \w{10} “ ?promises: say which port was closed ?” by Ada Okafor",
        text,
    )
    assert "1 job running, 1 waiting for a test node" in text
    assert "helloworld is green" in get(client, "/?project=hello").text


def test_results_are_a_table_with_headers_and_words_for_every_cell(client: httpx2.Client, sample: Any) -> None:
    page = get(client, "/?revisions=100")
    columns = [attributes for tag, attributes in page.tags if tag == "th" and attributes["scope"] == "col"]
    rows = [attributes for tag, attributes in page.tags if tag == "th" and attributes["scope"] == "row"]
    assert (len(columns), len(rows)) == (1 + 100, 20 + 1)
    cells = [link for link in page.links if link.startswith("/jobs/")]
    assert f"/jobs/{sample.red}" in cells and len(set(cells)) == 100 * 20 - 14 + 3  # every seventh revision lacks one
    empty = sum(not attributes for tag, attributes in page.tags if tag == "td")
    assert empty == 14 + 97 + 1  # of one release; of the nights of another; the corner
    assert "From scratch" in page.text
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    (expected,) = [
        attributes["href"] for tag, attributes in page.tags if tag == "link" and attributes["rel"] == "expect"
    ]
    assert expected in ids  # else a browser would wait for it in vain before it draws
    labels = {attributes["aria-label"] for tag, attributes in page.tags if tag == "a" and "aria-label" in attributes}
    assert labels == {"passed", "fixed", "new failure", "still failing", "running", "waiting"}


def test_a_release_that_is_red_comes_first_and_its_past_is_a_strip(client: httpx2.Client) -> None:
    page = get(client, "/")
    releases = [link for link in page.links if link.startswith("/releases/")]
    assert releases[0] == "/releases/nginx?project=allotment" and len(releases) == 2 * 21
    words = [attributes.get("aria-label") or "" for tag, attributes in page.tags if tag == "a"]
    assert sum(bool(re.fullmatch(r"\S+, older revisions: red at \d+ of (70|60)", text)) for text in words) == 20
    assert "kvm, older revisions: red at 0 of 1" in words
    assert "70 revisions before" in page.text


def test_a_commit_that_broke_releases_says_how_many(client: httpx2.Client) -> None:
    source = client.get("/").text
    (newest,) = re.findall(
        r'<th scope="col" class="broke"><a href="/revisions/80b8878b02"[^>]*><b[^>]*>(\d+)</b>', source
    )
    assert newest == "1"


def test_few_releases_are_listed_with_words_and_times(client: httpx2.Client) -> None:
    page = get(client, "/?project=hello")
    assert re.search(r"helloworld \w{10} .* ✓ passed 9\.4 s", page.text)
    assert "/releases/helloworld?project=hello" in page.links


def test_revisions_come_in_windows_that_lead_on(client: httpx2.Client) -> None:
    seen: list[str] = []
    path: str | None = "/"
    while path:
        page = get(client, path)
        seen += [link for link in page.links if link.startswith("/revisions/")]
        found = [attributes["href"] for tag, attributes in page.tags if attributes.get("rel") == "next"]
        path = found[0] if found else None
    assert len({link[:21] for link in seen}) == 100


def test_a_red_job_shows_what_failed_first_and_how_to_run_it(client: httpx2.Client, sample: Any) -> None:
    source = client.get(f"/jobs/{sample.red}").text
    text = Page(source).text
    assert "New failure" in text and "Test cases: 1 failed, 1 error, 5 passed, 1 skipped" in text
    order = ["test_dead_backend_is_left_out</span>", "test_log_is_rotated</span>", "test_requests_are_balanced</span>"]
    assert sorted(order, key=source.index) == order
    assert "assert 502 == 200" in text
    assert re.search(r"git switch --detach \w{40} allot release test software/nginx", text)
    assert re.search(r"Last green at (\w{10}) : git log -p \1\.\.\w{10}", text)
    assert "the test node was silent for 15 s" in text and "no space left on device" in text
    assert f"allot farm reproduce {client.base_url}/jobs/{sample.red}".replace("//jobs", "/jobs") in text
    assert f"/jobs/{sample.red}?attempt=3&from=242#L242" in Page(source).links


def test_steps_and_parts_share_a_time_axis(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.red}")
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert [bar["class"] for bar in bars] == ["good"] * 4 + ["bad"] + ["part"] * 5
    build, openssl, libxml2 = bars[1], bars[6], bars[8]
    left, width = (float((build[name] or "").rstrip("%")) for name in ("x", "width"))
    for part in (openssl, libxml2):  # what was built lies within the step that built it
        assert left <= float((part["x"] or "").rstrip("%")) < left + width
    assert re.search(r"0 30 s 1 min 1 min 30 s 2 min", page.text)
    assert "5 parts built zlib 1.2.3" in page.text
    assert "4 parts were in the store already cmake 4.5 , gcc 4.5" in page.text


def test_a_job_leads_to_the_same_release_at_other_revisions(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.hostile}")
    links = [
        attributes for tag, attributes in page.tags if tag == "a" and (attributes.get("title") or "")[10:11] == " "
    ]
    assert len(links) == 25
    (current,) = [attributes for attributes in links if "aria-current" in attributes]
    assert links.index(current) == 12 and current["href"] == f"/jobs/{sample.hostile}"


def test_a_broken_promise_comes_before_those_that_were_kept(client: httpx2.Client, sample: Any) -> None:
    text = get(client, f"/jobs/{sample.red}").text
    assert "Promises: 1 not kept, 1 kept" in text
    assert text.index("127.0.0.1:8443: connection refused") < text.index("1 kept at the end of the deployment")


def test_each_line_of_a_log_can_be_linked(client: httpx2.Client, sample: Any) -> None:
    source = client.get(f"/jobs/{sample.red}").text
    assert '<div class="line" id="L1"><a href="#L1">1</a>' in source
    assert '<span class="c4">    0.1</span> fetching part 1 of 240' in source


def test_an_earlier_attempt_has_its_own_log(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.red}?attempt=1")
    assert "the first attempt" in page.text
    assert f"/api/v1/jobs/{sample.red}/log?attempt=1" in page.links
    assert "Nothing was logged" in get(client, f"/jobs/{sample.red}?attempt=2").text


def test_a_page_can_be_asked_for_without_the_lines_of_its_log(client: httpx2.Client, sample: Any) -> None:
    whole, rest = (client.get(f"/jobs/{sample.long}{query}").text for query in ("", "?lines=no"))
    assert whole.count('class="line"') == 1500 and 'class="line"' not in rest
    assert whole[: whole.index('id="log"')] == rest[: rest.index('id="log"')]
    assert client.get(f"/jobs/{sample.waiting}?lines=no").status_code == 200


def test_a_long_log_shows_both_its_ends_and_leads_to_all_of_it(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.long}")
    assert "60,000 lines" in page.text and "Lines 501\u201359,000 are not shown" in page.text
    assert "line 60000 of a long build" in page.text and "line 58000 of a long build" not in page.text
    assert "#L60000" in page.links
    full = client.get(next(link for link in page.links if "/log" in link)).text
    assert full.startswith("line 1 of") and full.count("\n") == 60_000


def test_a_green_job_shows_what_was_signed(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.green}")
    assert "ed25519:AAAA" in page.text and "Apache-2.0" in page.text and "48.2 kB" in page.text
    manifest = next(link for link in page.links if link.startswith("/api/v1/manifests/"))
    assert client.get(manifest).json()["manifest"]["name"] == "helloworld"


def test_a_job_that_was_not_run_leads_to_the_one_that_proved_it(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.proved}")
    assert re.search(rf"Not run again: job {sample.proof} at \w{{10}} ran with the same inputs and passed\.", page.text)
    assert f"/jobs/{sample.proof}" in page.links and f"/jobs/{sample.proof}#log" in page.links
    assert f"It was not run: job {sample.proof} ran with the same inputs." in page.text
    assert f"✓ passed as job {sample.proof}" in get(client, "/?project=hello").text
    data = client.get(f"/api/v1/jobs/{sample.proved}").json()
    assert (data["job"]["proved_by"], data["changes"], data["attempts"]) == (sample.proof, None, [])
    revision = get(client, f"/revisions/{data['revision']['commit']}")
    assert f"as job {sample.proof}" in revision.text
    matrix = client.get("/api/v1/matrix?project=hello").json()["matrix"]["rows"][0]["cells"]
    assert [cell["proved_by"] for cell in matrix if cell["job"] == sample.proved] == [sample.proof]


def test_a_job_that_was_run_says_which_inputs_changed(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/jobs/{sample.hostile}")
    assert "5 inputs changed since the last job that passed or failed" in page.text
    assert "components/qemu/buildout.cfg changed" in page.text and "gone.patch removed" in page.text
    assert f"{HOSTILE} added" in page.text
    assert "test node: python changed: 3.11.2 → 3.13.5" in page.text
    changes = client.get(f"/api/v1/jobs/{sample.hostile}").json()["changes"]
    assert [change["name"] for change in changes["environment"]] == [HOSTILE, "python"]
    assert f"/jobs/{changes['job']}" in page.links


def test_a_release_shows_its_stretches_and_how_long_it_took(client: httpx2.Client, sample: Any) -> None:
    page = get(client, "/releases/nginx")
    assert re.search(r"✗ Red since \w{10} “ ?component/openssl: 3\.5\.4 -> 3\.5\.5 ?” by Chiyo Tanaka", page.text)
    assert "Newest first; " in page.text
    assert len({link for link in page.links if link.startswith("/jobs/")}) == 100
    bars = [attributes for tag, attributes in page.tags if tag == "rect" and attributes["class"] in ("good", "bad")]
    assert max(float(bar["height"] or 0) for bar in bars) == 100.0
    stretches = re.findall(r"(✓ green|✗ red) (\w{10}|before)", page.text)
    assert stretches[0][0] == "✗ red" and stretches[-1][0] == "✓ green"
    older = get(client, "/releases/kvm?before=60")
    assert "Newest revisions" in older.text and "for more than" not in older.text


def test_a_release_in_another_kind_is_beside_it(client: httpx2.Client) -> None:
    page = get(client, "/releases/kvm")
    assert "kvm, from scratch" in page.text
    beside = "/releases/kvm?project=allotment&kind=from-scratch"
    assert beside in page.links
    assert "kvm, from scratch" in get(client, beside).text


def test_the_queue_says_what_runs_and_why_the_rest_waits(client: httpx2.Client, sample: Any) -> None:
    page = get(client, "/queue")
    assert "1 job runs, 1 waits." in page.text
    assert re.search(r"kvm instance [\d a-z]+ node-1 1 80b8878b02 promises: say .* closed Waiting", page.text)
    assert "A test node is free: it should start at once. It is the next." in page.text
    assert {f"/jobs/{sample.running}", f"/jobs/{sample.waiting}"} <= set(page.links)


def test_unfinished_jobs_say_where_they_are(client: httpx2.Client, sample: Any) -> None:
    running = get(client, f"/jobs/{sample.running}").text
    assert "Running: instance" in running and "processing the instance" in running
    waiting = get(client, f"/jobs/{sample.waiting}").text
    assert "Waiting for a test node A test node is free: it should start at once." in waiting
    assert "No test node has taken this job yet." in waiting


def test_nodes_show_how_they_are(client: httpx2.Client, sample: Any) -> None:
    page = get(client, "/nodes")
    assert "2 of 3 connected, 1 job running in 2 slots." in page.text
    assert "node-2 ! takes no job 0.3 GB of disk is left, 2 GB are wanted" in page.text
    assert re.search(r"node-1 ● working kvm now 0\.40 3\.4 GB 81\.0 GB 2 x86_64-linux-gnu", page.text)
    assert "! silent" in page.text and f"/jobs/{sample.running}" in page.links


def test_a_revision_lists_all_its_jobs_the_red_ones_first(client: httpx2.Client, sample: Any) -> None:
    page = get(client, f"/revisions/{sample.hostile_commit[:10]}")
    assert len([link for link in page.links if link.startswith("/jobs/")]) == 20
    assert page.links[page.links.index("#content") :].index(f"/jobs/{sample.hostile}") < 16
    assert {"prev", "next"} <= {attributes.get("rel") for _, attributes in page.tags}


def test_a_revision_says_what_it_changed_first(client: httpx2.Client, sample: Any) -> None:
    text = get(client, "/revisions/80b8878b02").text
    assert "21 jobs: 1 red, 18 green, 2 not done yet It broke 1." in text
    titles = ("New failures: 1", "Not done yet: 2", "Green as before: 18")
    assert sorted(titles, key=text.index) == list(titles)
    assert "Older: 0a9d80f2d5 recipes: check octal modes before writing" in text


def test_hostile_text_stays_text(client: httpx2.Client, sample: Any) -> None:
    for path in (f"/jobs/{sample.hostile}", f"/revisions/{sample.hostile_commit}", "/?revisions=100"):
        source = client.get(path).text
        assert HOSTILE not in source and html.escape(HOSTILE)[:20] in source.replace("&#39;", "&#x27;")
        assert "\x1b" not in source and "\x00" not in source and "\x07" not in source


def test_pages_hold_no_inline_script_and_no_style(client: httpx2.Client, addresses: list[str]) -> None:
    for path in addresses:
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        for tag, attributes in Page(answer.text).tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (path, tag)
            assert tag != "style" and tag != "iframe"
            assert tag != "script" or (attributes.pop("src") in _SCRIPTS and attributes in _LATE)
        assert "hidden-password" not in answer.text


def test_every_link_of_the_pages_leads_somewhere(client: httpx2.Client, addresses: list[str]) -> None:
    links = {link.partition("#")[0] for path in addresses for link in get(client, path).links}
    pages = {link for link in links if link.startswith("/") and not link.startswith("/jobs/")}
    for link in sorted(
        pages
        | {"/static/farm.css", "/static/kit/base.css", "/static/refresh.js", "/static/grid.js", "/static/favicon.svg"}
    ):
        assert client.get(link).status_code == 200, link
        if not link.startswith("/api/"):
            assert (client.head(link).status_code, client.head(link).content) == (200, b""), link


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/jobs/999999", 404, "There is no job 999999"),
        ("/revisions/0000000", 404, "There is no revision 0000000 Give at least 7 digits"),
        ("/revisions/abc", 404, "There is no revision abc"),
        ("/?project=nobody", 404, "There is no project &#39;nobody&#39;"),
        ("/releases/nobody", 404, "There are no jobs of the release 'nobody'"),
        ("/releases/nginx?kind=other", 404, "There are no jobs of the release 'nginx'"),
        ("/elsewhere", 404, "/elsewhere: Not Found"),
        ("/jobs/0", 422, "Path number: Input should be greater than or equal to 1"),
        ("/jobs/99999999999999999999", 422, "Path number: Input should be less than or equal to 2147483647"),
        ("/?revisions=201", 422, "Query revisions: Input should be less than or equal to 200"),
        ("/?project=%00", 422, "Query project: String should match pattern"),
    ],
)
def test_a_wrong_address_is_told_on_a_page(client: httpx2.Client, path: str, status: int, text: str) -> None:
    assert html.unescape(text) in get(client, path, status).text


def test_an_attempt_that_was_not_made_is_named(client: httpx2.Client, sample: Any) -> None:
    assert f"There is no attempt 9 of job {sample.red}" in get(client, f"/jobs/{sample.red}?attempt=9", 404).text


def test_an_unchanged_page_is_not_sent_again(client: httpx2.Client, sample: Any) -> None:
    for path in (f"/jobs/{sample.red}", f"/revisions/{sample.hostile_commit}", "/?revisions=50"):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")


def test_pages_are_compressed_where_it_is_wanted(client: httpx2.Client) -> None:
    plain = client.get("/?revisions=100", headers={"Accept-Encoding": "identity"})
    refused = client.get("/?revisions=100", headers={"Accept-Encoding": "gzip;q=0, br"})
    assert "content-encoding" not in plain.headers and "content-encoding" not in refused.headers
    with client.stream("GET", "/?revisions=100", headers={"Accept-Encoding": "gzip"}) as packed:
        data = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip" and packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(data) == plain.content
    assert len(data) < 60_000


def test_the_first_byte_of_the_results_comes_at_once(client: httpx2.Client, sample: Any) -> None:
    web = psutil.Process(json.loads((sample.folder / "web.json").read_text())["pid"])
    used = [sum(web.cpu_times()[:2])]
    for window in range(101, 111):  # each is a page that was not kept
        with client.stream("GET", f"/?revisions={window}", headers={"Accept-Encoding": "gzip"}) as answer:
            next(answer.iter_raw())
        used.append(sum(web.cpu_times()[:2]))
    # Processor time and not the clock's: other tests run at the same time. On an idle machine the two are equal.
    assert statistics.median(later - earlier for earlier, later in itertools.pairwise(used)) <= FIRST_BYTE


def test_a_farm_without_a_project_says_what_it_waits_for(
    run_web: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    with run_web(tmp_path) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert "No project yet" in get(client, "/").text
        assert "No test node has said hello yet" in get(client, "/nodes").text
        assert client.get("/api/v1/jobs").json() == {"items": [], "next": ""}
        assert client.get("/api/v1/matrix").status_code == 404
        assert (tmp_path / "web.json").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "web.json").exists()
