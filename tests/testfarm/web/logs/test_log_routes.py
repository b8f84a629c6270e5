# SPDX-License-Identifier: Apache-2.0
"""A log's bytes and lines over HTTP, from the real process."""

from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment_testfarm.logs import frames
from allotment_testfarm.web.log_routes import RangeError, _range

TEXT = b"".join(b"line %d of a build that says a lot about itself\n" % number for number in range(1, 20_001))


@pytest.fixture(scope="module")
def job(logs: Any) -> int:
    return int(logs.job(TEXT))


def test_a_log_is_sent_whole_from_an_offset_and_packed_to_who_takes_that(http: httpx2.Client, job: int) -> None:
    path = f"/api/v1/jobs/{job}/log"
    whole = http.get(path, headers={"Accept-Encoding": "gzip"})
    assert (whole.content, whole.headers["log-size"]) == (TEXT, str(len(TEXT)))
    assert "content-encoding" not in whole.headers
    assert http.get(path, params={"offset": 700_001}).content == TEXT[700_001:]
    packed = http.get(path, headers={"Accept-Encoding": "br, zstd;q=0.5"})
    assert (packed.headers["content-encoding"], packed.headers["log-size"]) == ("zstd", str(len(TEXT)))
    assert int(packed.headers["content-length"]) < len(TEXT) / 5
    assert packed.content == TEXT
    for refusing in ("identity", "gzip, zstd;q=0", "zstd; q=0.0"):
        assert "content-encoding" not in http.get(path, headers={"Accept-Encoding": refusing}).headers


def test_a_running_log_grows_under_its_address(http: httpx2.Client, logs: Any) -> None:
    running = logs.job(b"one\n", is_running=True)
    path = f"/api/v1/jobs/{running}/log"
    assert http.get(path).content == b"one\n"
    logs.write(running, b"two\n")
    assert http.get(path, params={"offset": 4}).content == b"two\n"
    logs.end(running)
    assert http.get(path).content == b"one\ntwo\n"
    assert http.get(path, params={"offset": 8}).content == b""


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-3", 0, 4),
        ("bytes=500000-500010", 500_000, 500_011),
        ("bytes=-5", len(TEXT) - 5, len(TEXT)),
        (f"bytes={len(TEXT) - 3}-99999999", len(TEXT) - 3, len(TEXT)),
        ("bytes=100-", 100, len(TEXT)),
    ],
)
def test_ranges_are_sent_as_such(http: httpx2.Client, job: int, header: str, start: int, end: int) -> None:
    answer = http.get(f"/api/v1/jobs/{job}/log", headers={"Range": header, "Accept-Encoding": "zstd"})
    assert (answer.status_code, answer.content) == (206, TEXT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(TEXT)}"


def test_a_range_that_is_none_gives_the_whole_and_one_beyond_the_end_an_error(http: httpx2.Client, job: int) -> None:
    for header in ("bytes=9-3", "lines=1-2", "bytes=-", "bytes=1-2,4-5", "bytes=a-b"):
        assert http.get(f"/api/v1/jobs/{job}/log", headers={"Range": header}).status_code == 200
    answer = http.get(f"/api/v1/jobs/{job}/log", headers={"Range": "bytes=99999999-"})
    assert (answer.status_code, answer.json()["error"]) == (416, f"the log has {len(TEXT)} bytes")
    assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_range_is_within_the_log(first: int, last: int, size: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            found = _range(header, size)
        except RangeError:
            continue
        if found is not None:
            assert 0 <= found[0] < found[1] <= size


def test_lines_are_asked_for_by_number(http: httpx2.Client, job: int) -> None:
    path = f"/api/v1/jobs/{job}/log/lines"
    answer = http.get(path, params={"from": 12_345, "count": 2}).json()
    assert answer == {
        "lines": [[number, f"line {number} of a build that says a lot about itself"] for number in (12_345, 12_346)],
        "next": 12_347,
        "number": 20_000,
        "size": len(TEXT),
    }
    assert len(http.get(path).json()["lines"]) == 1000
    assert [line for line, _ in http.get(path, params={"from": 19_999}).json()["lines"]] == [19_999, 20_000]
    for beyond in (20_001, 20_002, 2**53):
        assert http.get(path, params={"from": beyond}).json()["lines"] == []


def test_colours_that_began_before_the_lines_go_on(http: httpx2.Client, logs: Any) -> None:
    coloured = logs.job(b"\x1b[31mred\n" + b"still\n" * 100 + b"\x1b[0m<done>")
    answer = http.get(f"/api/v1/jobs/{coloured}/log/lines", params={"from": 101}).json()
    assert answer["lines"] == [[101, '<span class="c1">still</span>'], [102, "&lt;done&gt;"]]


def test_a_removed_log_says_when_it_went(http: httpx2.Client, logs: Any) -> None:
    removed = logs.job(b"text", log_removed=1_790_000_000.0)
    for path in ("", "/lines", "/live"):
        answer = http.get(f"/api/v1/jobs/{removed}/log{path}")
        assert answer.status_code == 410
        assert answer.json()["error"] == f"the log of attempt 1 of job {removed} was removed on 2026-09-21"
    page = http.get(f"/jobs/{removed}").text
    assert "The log of attempt 1 was removed on" in page and "/static/log.js" in page


def test_what_was_not_made_is_named(http: httpx2.Client, job: int) -> None:
    for path in ("", "/lines", "/live"):
        assert http.get(f"/api/v1/jobs/{job}/log{path}?attempt=7").json() == {
            "error": f"there is no attempt 7 of job {job}",
            "fix": f"Look at /api/v1/jobs/{job}",
        }
        assert http.get(f"/api/v1/jobs/99999/log{path}").json()["error"] == "there is no job 99999"


def test_a_page_shows_the_beginning_the_end_and_what_it_leaves_out(http: httpx2.Client, job: int) -> None:
    page = http.get(f"/jobs/{job}").text
    assert all(f'id="L{number}"' in page for number in (1, 500, 19_001, 20_000))
    assert 'id="L501"' not in page and 'id="L19000"' not in page
    assert "Lines <b>501\u201319,000</b> are not shown" in page
    assert f"/jobs/{job}?attempt=1&amp;from=501#L501" in page
    assert f"/jobs/{job}?attempt=1&amp;from=18001#L18001" in page
    assert "20,000 lines" in page.replace('<b class="log-count">', "").replace("</b>", "")


@pytest.mark.parametrize(
    ("first", "shown", "gaps"),
    [
        (9000, [1, 500, 9000, 9999, 19_001, 20_000], ["501\u20138,999", "10,000\u201319,000"]),
        (501, [1, 1500, 19_001], ["1,501\u201319,000"]),
        (18_500, [500, 18_500, 20_000], ["501\u201318,499"]),
        (18_001, [18_001, 19_001], ["501\u201318,000"]),
        (19_990, [1, 20_000], ["501\u201319,000"]),
        (10**9, [1, 20_000], ["501\u201319,000"]),
        (1, [1, 1000, 20_000], ["1,001\u201319,000"]),
    ],
)
def test_any_stretch_has_an_address(
    http: httpx2.Client, job: int, first: int, shown: list[int], gaps: list[str]
) -> None:
    page = http.get(f"/jobs/{job}", params={"from": first}).text
    assert all(page.count(f'id="L{number}"') == 1 for number in shown)
    body = page.partition("<template")[0]
    assert [piece.partition("</b>")[0] for piece in body.split("Lines <b>")[1:]] == gaps


def test_a_hundred_megabytes_are_opened_by_reading_little(http: httpx2.Client, logs: Any) -> None:
    log = b"".join(b"%08d %s\n" % (number, b"x" * 90) for number in range(1_000_000))
    large = logs.job(log)
    page = http.get(f"/jobs/{large}", headers={"Accept-Encoding": "gzip"})
    assert int(page.headers["content-length"]) < 60_000 and "501\u2013999,000" in page.text
    answer = http.get(f"/api/v1/jobs/{large}/log/lines", params={"from": 500_000, "count": 1}).json()
    assert answer["lines"] == [[500_000, "00499999 " + "x" * 90]]
    assert http.get(f"/api/v1/jobs/{large}/log", params={"offset": 99 * 10**6}).content == log[99 * 10**6 :]
    packed = http.get(f"/api/v1/jobs/{large}/log", headers={"Accept-Encoding": "zstd"})
    assert packed.content == log
    assert int(packed.headers["content-length"]) == (logs.folder / f"logs/{large}/1.log.zst").stat().st_size
    assert frames.STRETCH * 381 < len(log) < frames.STRETCH * 382
