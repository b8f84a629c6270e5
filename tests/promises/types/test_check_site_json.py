# SPDX-License-Identifier: Apache-2.0
import datetime
import json
from collections.abc import Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

URL = "https://www.example/"


def when(days: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return format_datetime(moment.replace(tzinfo=None))  # ends with -0000, as the prober writes it


@pytest.fixture
def report() -> dict[str, list[dict[str, Any]]]:
    """What surykatka writes of a site with two addresses that is well."""
    addresses = ("192.0.2.1", "192.0.2.2")
    headers = {"Vary": "Accept-Encoding", "Server": "x"}
    answer = {"status_code": 200, "url": URL, "http_header_dict": headers}
    return {
        "bot_status": [{"date": when(-60 / 86400), "text": "loop"}],
        "dns_query": [
            {"domain": "www.example", "rdtype": "A", "resolver_ip": "192.0.2.53", "response": ", ".join(addresses)}
        ],
        "tcp_server": [{"ip": ip, "state": "open", "port": 443, "domain": "www.example"} for ip in addresses],
        "http_query": [{**answer, "ip": ip, "total_seconds": 0.5 + at} for at, ip in enumerate(addresses)],
        "ssl_certificate": [{"hostname": "www.example", "ip": ip, "not_after": when(60)} for ip in addresses],
        "whois": [{"domain": "example", "expiration_date": when(100)}],
    }


@pytest.fixture
def check(measure: Callable[..., Measurement], tmp_path: Path) -> Callable[..., Measurement]:
    def run(report: Any, /, **options: Any) -> Measurement:
        (tmp_path / "report.json").write_text(json.dumps(report))
        return measure("check_site_json", **{"json_file": "report.json", "url": URL, **options})

    return run


Check = Callable[..., Measurement]
Report = dict[str, list[dict[str, Any]]]
STRICT = {
    "ip_list": "192.0.2.2 192.0.2.1",
    "http_header_dict": '{"Vary": "Accept-Encoding"}',
    "maximum_elapsed_time": 2,
    "domain_expiration_days": 30,
}


def test_a_site_that_is_well_passes(check: Check, report: Report) -> None:
    measured = check(report, **STRICT)
    assert measured.message.startswith(f"{URL} is well: dns_query, tcp_server, http_query, ssl_certificate")
    assert measured.is_passed
    assert measured.metrics["seconds"].value == 1.5
    assert measured.metrics["expires_in"].value == pytest.approx(60 * 86400, abs=600)


@pytest.mark.parametrize(
    ("part", "field", "value", "problem"),
    [
        ("dns_query", "response", "192.0.2.1", "192.0.2.53 finds 192.0.2.1, expected 192.0.2.1, 192.0.2.2"),
        ("dns_query", "response", "", "192.0.2.53 finds nothing, expected 192.0.2.1, 192.0.2.2"),
        ("tcp_server", "state", "filtered", "port 443 of 192.0.2.1 is filtered, expected open"),
        ("tcp_server", "port", 80, "port 443 of 192.0.2.1 is not reported, expected open"),
        ("http_query", "status_code", 503, "192.0.2.1 answers 503, expected 200"),
        ("http_query", "http_header_dict", None, "192.0.2.1 sends Vary: None, expected Accept-Encoding"),
        ("http_query", "total_seconds", 3, "192.0.2.1 takes 3 s, expected at most 2 s"),
        ("http_query", "total_seconds", None, "the time of 192.0.2.1 is not reported"),
        ("ssl_certificate", "not_after", 9.5, "the certificate of 192.0.2.1 expires in 9.5 days, expected at least 15"),
        ("ssl_certificate", "not_after", -2, "the certificate of 192.0.2.1 expired 2.0 days ago"),
        ("ssl_certificate", "not_after", None, "the certificate of 192.0.2.1 has no known end"),
        ("whois", "expiration_date", 20, "the domain example expires in 20.0 days, expected at least 30"),
        ("whois", "domain", "other", "nothing is said of the registration of www.example"),
    ],
)
def test_what_is_wrong_is_told(check: Check, report: Report, part: str, field: str, value: Any, problem: str) -> None:
    is_date = field in ("not_after", "expiration_date") and value is not None
    report[part][0][field] = when(value) if is_date else value
    assert check(report, **STRICT).message == f"{URL}: {problem}"
    enabled = [name for name in report if name not in (part, "bot_status")]
    assert check(report, **STRICT, enabled_sense_list=enabled).is_passed, "a part may be left out"


def test_a_site_that_the_report_does_not_know_fails(check: Check, report: Report) -> None:
    assert check(report, url="https://other.example/").message == (
        "https://other.example/: no answer is reported; no certificate is reported"
    )
    assert not check([], ip_list="192.0.2.1").is_passed


def test_without_tls_there_is_no_certificate(check: Check, report: Report) -> None:
    report["http_query"].append({"url": "http://plain.example/", "status_code": 200, "ip": "192.0.2.9"})
    assert check(report, url="http://plain.example/").is_passed


def test_the_prober_must_be_at_work(check: Check, report: Report) -> None:
    options = {"report": "bot_status", "url": ""}
    measured = check(report, **options)
    assert measured.is_passed
    assert measured.metrics["age"].value == pytest.approx(60, abs=30)
    assert not check(report, **options, maximum_age=20).is_passed
    ahead = check({"bot_status": [{"date": when(1), "text": "loop"}]}, **options)
    assert "s in the future, expected at most 900 s" in ahead.message
    broken = check({"bot_status": [{"date": when(0), "text": "error"}]}, **options)
    assert broken.message == "bot_status is 'error', expected 'loop'"
    assert check({"bot_status": []}, **options).message == "report.json has no bot_status"
    assert check({"bot_status": [{"text": "loop"}]}, **options).message == "bot_status has no date, but None"


def test_a_report_that_can_not_be_read_fails(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    missing = measure("check_site_json", json_file="none.json", url=URL)
    assert missing == Measurement.failed("none.json can't be read: No such file or directory")
    (tmp_path / "half.json").write_text('{"http_query": [')
    assert measure("check_site_json", json_file="half.json", url=URL).message.startswith("half.json is no JSON: ")


junk = st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers()) | st.lists(st.integers())
names = st.sampled_from(["url", "ip", "domain", "hostname", "status_code", "total_seconds", "not_after", "response"])
entries = st.lists(st.dictionaries(names, junk | st.just(URL) | st.just("www.example")) | junk, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["dns_query", "tcp_server", "http_query", "ssl_certificate"]), entries | junk))
def test_no_report_is_an_exception(check: Check, report: Any) -> None:
    assert not check(report, **STRICT).is_passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": ""}, "url: '' is no such address. Write it like https://host/path."),
        ({"http-header-dict": "[]"}, "http-header-dict: is no JSON object. Write it like"),
        ({"enabled-sense-list": "ping"}, "enabled-sense-list: 'ping' is no part. Choose of dns_query, "),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_site_json", **{"json-file": "x", "url": URL, **options})
    assert str(caught.value).startswith(message)
