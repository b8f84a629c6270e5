# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment.messages.job import CaseOutcome, TestCase
from allotment_testfarm.testnode import junit


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "junit.xml"


def test_each_outcome_is_read(report: Path) -> None:
    report.write_text(
        '<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest">'
        '<testcase classname="test_a" name="good" time="0.5"/>'
        '<testcase classname="test_a" name="bad"><failure message="assert 1">trace</failure></testcase>'
        '<testcase name="broken"><error message="no fixture"/></testcase>'
        '<testcase classname="test_a" name="left out"><skipped message="not here"/></testcase>'
        '<testcase classname="test_a" name="both"><skipped/><error message="late"/></testcase>'
        "</testsuite></testsuites>"
    )
    assert junit.read(report) == (
        TestCase("test_a", "good", CaseOutcome.PASSED, 0.5),
        TestCase("test_a", "bad", CaseOutcome.FAILED, 0.0, "assert 1\ntrace"),
        TestCase("pytest", "broken", CaseOutcome.ERROR, 0.0, "no fixture"),
        TestCase("test_a", "left out", CaseOutcome.SKIPPED, 0.0, "not here"),
        TestCase("test_a", "both", CaseOutcome.ERROR, 0.0, "late"),
    )


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<testsuite><testcase name='&b;'/></testsuite>"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "the test report has a document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', "the test report has a document type"),
        ('<?xml version="1.0" encoding="utf-7"?><testsuite/>', "the test report is in 'utf-7', not UTF-8"),
        ("<html/>", "the test report is not JUnit XML: Invalid format."),
        ("<testsuite>", "the test report is not JUnit XML: no element found"),
        ("", "the test report is not JUnit XML: no element found"),
        ("<a>" * 200_000, "the test report is not JUnit XML: "),
    ],
    ids=["entities", "external", "encoding", "another document", "cut short", "empty", "deep"],
)
def test_hostile_report_is_refused(report: Path, text: str, problem: str) -> None:
    report.write_text(text)
    with pytest.raises(junit.TestReportError) as caught:
        junit.read(report)
    assert str(caught.value).startswith(problem)
    assert str(caught.value).endswith(". Let pytest write it.")


def test_report_in_another_encoding_is_refused(report: Path) -> None:
    report.write_bytes('<?xml version="1.0" encoding="utf-16"?><testsuite/>'.encode("utf-16"))
    with pytest.raises(junit.TestReportError, match="not UTF-8"):
        junit.read(report)


def test_missing_report_is_an_error(report: Path) -> None:
    with pytest.raises(junit.TestReportError, match="the tests wrote no report"):
        junit.read(report)


def test_report_that_is_a_link_is_refused(report: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("<testsuite/>")
    report.symlink_to(tmp_path / "other")
    with pytest.raises(Exception, match="must be a regular file"):
        junit.read(report)


def test_too_large_report_is_refused(report: Path) -> None:
    with report.open("wb") as file:
        file.truncate(junit.MAX_FILE + 1)
    with pytest.raises(Exception, match="is larger than"):
        junit.read(report)


def test_too_many_cases_are_refused(report: Path) -> None:
    report.write_text("<testsuite>" + "<testcase name='a'/>" * (junit.MAX_CASES + 1) + "</testsuite>")
    with pytest.raises(junit.TestReportError, match="has more than 10000 cases"):
        junit.read(report)


def test_odd_times_and_long_texts_are_tamed(report: Path) -> None:
    report.write_text(
        f'<testsuite><testcase name="{"n" * 5000}" time="nan"><failure>{"m" * 50_000}</failure></testcase>'
        '<testcase name="b" time="-1"/><testcase name="c" time="inf"/></testsuite>'
    )
    first, *others = junit.read(report)
    assert (len(first.name), len(first.message), first.seconds) == (300, 8000, 0.0)
    assert [case.seconds for case in others] == [0.0, 0.0]
