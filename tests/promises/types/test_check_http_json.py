# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

STATE = b'{"nodes": [{"state": "RUNNING", "ok": true}, {"state": "DOWN", "load": 1.5}], "leader": null, "name": "db"}'


@pytest.fixture
def check(measure: Callable[..., Measurement], serve: Callable[..., str]) -> Callable[..., tuple[bool, str]]:
    pages = {"/state": (200, {}, STATE), "/page": (200, {}, b"<p>"), "/deep": (200, {}, b"[" * 100_000)}
    pages["/long"] = (200, {}, b'"' + b"x" * (1 << 20) + b'"')
    url = serve(pages)

    def run(path: str = "", page: str = "/state", **options: Any) -> tuple[bool, str]:
        measured = measure("check_http_json", url=url + page, path=path, **options)
        return measured.is_passed, measured.message.removeprefix(f"{url}{page}: ").removeprefix(f"{url}{page} ")

    return run


Check = Callable[..., tuple[bool, str]]


def test_a_value_is_compared_as_text(check: Check) -> None:
    assert check("nodes/0/state", expected="RUNNING") == (True, "nodes/0/state is RUNNING")
    assert check("nodes/1/state", expected="RUNNING") == (False, "nodes/1/state is DOWN, expected RUNNING")
    assert check("nodes/0/ok", expected="true")[0]
    assert check("leader", expected="null")[0]
    assert check("nodes/1/load", expected="1.5")[0]


def test_a_number_is_held_to_limits(check: Check, measure: Callable[..., Measurement]) -> None:
    assert check("nodes/1/load", maximum=1) == (False, "nodes/1/load is 1.5, expected at most 1")
    assert check("nodes", minimum=2)[0], "a list counts by its length"
    assert check("nodes", minimum=3)[1].endswith(", expected at least 3")
    assert check("nodes/0/ok", minimum=1)[1] == "nodes/0/ok is true, expected a number"


def test_without_expectation_something_has_to_be_there(check: Check) -> None:
    assert check("name") == (True, "name is db")
    assert check()[0]
    assert check("nodes/2/state") == (False, "nodes is a list of 2 and has no '2'")
    assert check("nodes/-1")[1] == "nodes is a list of 2 and has no '-1'"
    assert check("nodes/0/load") == (False, "nodes/0 has no 'load', but 'state', 'ok'")
    assert check("name/x") == (False, "name is db and has no 'x'")


def test_a_page_that_is_no_json_or_not_there_fails(check: Check) -> None:
    assert check(page="/none") == (False, "answers 404, expected 200")
    assert check(page="/page")[1].startswith("answers no JSON: ")
    assert check(page="/long")[1] == "answers more than 1,048,576 bytes"
    assert check(page="/deep")[1].startswith("answers no JSON: ")


def test_its_metrics(measure: Callable[..., Measurement], serve: Callable[..., str]) -> None:
    measured = measure("check_http_json", url=serve({"/": (200, {}, b"7")}))
    assert measured.metrics["value"].value == 7
    assert measured.metrics["seconds"].unit == "s"


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_http_json", url="http://h/", expected="1", minimum=1)
    assert str(caught.value) == "expected, minimum: expected and minimum can't go together. Give one of them."
