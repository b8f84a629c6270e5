# SPDX-License-Identifier: Apache-2.0
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement, Metric

Measure = Callable[..., Measurement]
# lines as the servers of Debian 12 write them
ACCESS = '127.0.0.1 - - [{access}] "GET /a?b=\\"500\\" HTTP/1.1" {code} 146 "-" "curl/7.88.1"\n'
NGINX = "{nginx} [{level}] 71#71: *1 connect() failed (111: Connection refused), client: 127.0.0.1\n"
APACHE = "[{apache}] [proxy_http:{level}] [pid 71:tid 72] [client 127.0.0.1:5] AH01114: failed to make connection\n"


def _line(form: str, ago: float = 10.0, **values: Any) -> str:
    moment = time.localtime(time.time() - ago)
    times = {
        "access": time.strftime("%d/%b/%Y:%H:%M:%S %z", moment),
        "nginx": time.strftime("%Y/%m/%d %H:%M:%S", moment),
        "apache": time.strftime("%a %b %d %H:%M:%S.123456 %Y", moment),
    }
    return form.format(**times, **values)


@pytest.fixture
def answers(tmp_path: Path) -> Callable[..., None]:
    """Write an access log with so many answers of each code."""

    def write(*codes: tuple[int, int]) -> None:
        lines = [_line(ACCESS, code=code) for code, count in codes for _ in range(count)]
        (tmp_path / "access.log").write_text("".join(lines))

    return write


def test_share_of_server_errors_is_judged(measure: Measure, answers: Callable[..., None]) -> None:
    answers((200, 90), (404, 8), (502, 2))
    good = measure("check_error_on_http_log", access_log="access.log")
    text = "2 of 100 answers (2.0 %) in access.log of the last 60.0 min are 500 or more"
    assert (good.is_passed, good.message) == (True, text)
    assert good.metrics["failure_share"] == Metric(0.02, "1")
    assert good.metrics["requests"] == Metric(100)
    answers((200, 90), (503, 10))
    bad = measure("check_error_on_http_log", access_log="access.log")
    assert not bad.is_passed
    assert bad.message.endswith("are 500 or more, expected at most 5 %")
    answers((500, 5), (200, 5))
    assert measure("check_error_on_http_log", access_log="access.log").is_passed, "too few to tell"
    assert not measure("check_error_on_http_log", access_log="access.log", minimum_requests=10).is_passed


def test_rotated_answers_count_and_old_ones_do_not(
    measure: Measure, tmp_path: Path, answers: Callable[..., None]
) -> None:
    answers((200, 10))
    packed = _line(ACCESS, 7200, code=500) * 50 + _line(ACCESS, 60, code=500) * 10
    (tmp_path / "access.log.1.gz").write_bytes(gzip.compress(packed.encode()))
    measured = measure("check_error_on_http_log", access_log="access.log")
    assert measured.message.startswith("10 of 20 answers (50.0 %)")


@pytest.mark.parametrize("form", [NGINX, APACHE])
def test_lines_of_error_logs_count_by_level(measure: Measure, tmp_path: Path, form: str) -> None:
    (tmp_path / "error.log").write_text(
        _line(form, level="warn") + _line(form, level="notice") + _line(form, 7200, level="crit")
    )
    assert measure("check_error_on_http_log", log_file="error.log") == Measurement.passed(
        "0 errors in error.log of the last 60.0 min", errors=0
    )
    with (tmp_path / "error.log").open("a") as log:
        log.write(_line(form, level="error") + _line(form, level="crit"))
    found = measure("check_error_on_http_log", log_file="error.log")
    assert (found.is_passed, found.metrics["errors"].value) == (False, 2)
    assert found.message.startswith("2 errors in error.log of the last 60.0 min, expected at most 0; the newest: ")
    assert measure("check_error_on_http_log", log_file="error.log", ignore="failed").is_passed
    assert measure("check_error_on_http_log", log_file="error.log", error_threshold=2).is_passed


def test_both_logs_are_judged_together(measure: Measure, tmp_path: Path, answers: Callable[..., None]) -> None:
    answers((200, 100))
    (tmp_path / "error.log").write_text(_line(NGINX, level="error"))
    found = measure("check_error_on_http_log", log_file="error.log", access_log="access.log")
    assert not found.is_passed
    assert "answers" not in found.message
    assert set(found.metrics) == {"errors", "requests", "failures", "failure_share"}
    (tmp_path / "error.log").unlink()
    gone = measure("check_error_on_http_log", log_file="error.log", access_log="access.log")
    assert gone == Measurement.failed(f"{tmp_path}/error.log can't be read: No such file or directory")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "log-file, access-log: none of them is given. Give one of them, or both."),
        ({"log_file": "x", "maximum_share": 5}, "maximum-share: 5 is no share. Write it like 0.05."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_error_on_http_log", **options)
    assert str(caught.value) == message
