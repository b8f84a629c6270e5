# SPDX-License-Identifier: Apache-2.0
"""Read a JUnit report that the software under test may have written: nothing in it can hurt or flood the farm."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import junitparser

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.messages.job import CaseOutcome, TestCase

MAX_FILE: Final = 16 << 20  # bytes
MAX_CASES: Final = 10_000
_MAX_NAME = 300  # characters
_MAX_MESSAGE = 8_000
_MAX_MESSAGES = 1_000_000  # characters of all messages together
_DECLARATION = re.compile(r"""<\?xml[^>]*encoding=["']([^"']*)""", re.IGNORECASE)


class TestReportError(AllotmentError):
    """A test report can't be taken as one."""

    __test__ = False  # not a class of tests


def read(path: Path) -> tuple[TestCase, ...]:
    """Return a report's test cases in its order, over-long texts cut; anything odd is a :class:`TestReportError`."""
    data = read_limited(path, MAX_FILE)
    if data is None:
        raise TestReportError("the tests wrote no report", "Look at the log for why pytest ended early")
    _refuse_tricks(data)
    try:
        cases = tuple(_cases(junitparser.JUnitXml.fromstring(data)))
    except (ParseError, junitparser.JUnitXmlError, ValueError, TypeError, RecursionError) as error:
        raise TestReportError(f"the test report is not JUnit XML: {error}", "Let pytest write it") from error
    if len(cases) > MAX_CASES:
        raise TestReportError(f"the test report has more than {MAX_CASES} cases", "Split the tests into releases")
    return cases


def _refuse_tricks(data: bytes) -> None:
    """Refuse what JUnit has no use for and parsers have been broken with: entities, and other encodings than UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TestReportError("the test report is not UTF-8", "Let pytest write it") from error
    declared = _DECLARATION.search(text[:200])
    if declared is not None and declared.group(1).lower() not in ("utf-8", "us-ascii"):
        raise TestReportError(f"the test report is in {declared.group(1)!r}, not UTF-8", "Let pytest write it")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise TestReportError("the test report has a document type", "Let pytest write it")


def _cases(report: junitparser.JUnitXml) -> Iterator[TestCase]:
    room = _MAX_MESSAGES
    pairs = ((suite.name, case) for suite in report for case in suite)
    for suite_name, case in itertools.islice(pairs, MAX_CASES + 1):
        outcome, message = _result(case)
        message = message[: min(_MAX_MESSAGE, room)]
        room -= len(message)
        name = case.classname or suite_name
        yield TestCase(_text(name, _MAX_NAME), _text(case.name, _MAX_NAME), outcome, _seconds(case.time), message)


def _result(case: Any) -> tuple[CaseOutcome, str]:
    """Return the worst of a case's results, and what it says."""
    kinds = (
        (junitparser.Error, CaseOutcome.ERROR),
        (junitparser.Failure, CaseOutcome.FAILED),
        (junitparser.Skipped, CaseOutcome.SKIPPED),
    )
    for kind, outcome in kinds:
        for result in case.result:
            if isinstance(result, kind):
                text = "\n".join(part for part in (result.message, result.text) if part)
                return outcome, _text(text, _MAX_MESSAGE)
    return CaseOutcome.PASSED, ""


def _text(value: Any, limit: int) -> str:
    text = str(value or "").strip()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else 0.0
