# SPDX-License-Identifier: Apache-2.0
import string
import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from allotment.messages.job import CaseOutcome, TestCase
from allotment_testfarm.testnode.case_lines import junit_name, with_lines

LOG = b"""== build
checks: has a default type: passed
checks: schemas are valid: failed: type: x
[gw0] [ 50%] PASSED ../../source/software/x/test/test_a.py::test_good
[gw1] [ 75%] FAILED ../../source/software/x/test/test_a.py::TestThem::test_bad[a:b, \xc3\xa4]
[gw1] [100%] ERROR ../../source/software/x/test/test_a.py::TestThem::test_bad[a:b, \xc3\xa4]
\xff is no text
PASSED test/test_a.py::test_not_run
"""


def case(suite: str, name: str) -> TestCase:
    return TestCase(suite, name, CaseOutcome.PASSED)


def test_each_case_has_the_last_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(LOG)
    cases = (
        case("checks", "has a default type"),
        case("checks", "schemas are valid"),
        case("test.test_a", "test_good"),
        case("test.test_a.TestThem", "test_bad[a:b, \u00e4]"),
        case("test.test_a", "test_not_run"),
    )
    assert [item.line for item in with_lines(cases, tmp_path / "log", "software/x")] == [2, 3, 4, 6, None]


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        log.writelines(b"item %d: is there: passed\n" % number for number in range(20_000))
        log.write(b"x" * 5_000_000 + b"\n" + b"x" * 2000 + b"\nitem 7: is there: passed")
    tracemalloc.start()
    try:
        (found,) = with_lines([case("item 7", "is there")], tmp_path / "log", "x")
        assert tracemalloc.get_traced_memory()[1] < 500_000  # bytes
    finally:
        tracemalloc.stop()
    assert found.line == 20_003


def test_a_parameter_may_look_like_a_path() -> None:
    assert junit_name("../x/test/a.py::test_x[b/x/c.py::d]", "x") == "test.a: test_x[b/x/c.py::d]"


@given(st.text(string.printable, max_size=60))
def test_any_name_is_taken(text: str) -> None:
    assert ": " in junit_name(text, "x")
