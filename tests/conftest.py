# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: where skips are forbidden, a skipped test is a failure that says what it needs."""

import os
from collections.abc import Iterator

import pytest

FORBIDDEN = os.environ.get("ALLOTMENT_FORBID_SKIPS", "") not in ("", "0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn a skip into a failure; expected failures are not skips."""
    report: pytest.TestReport = yield
    if FORBIDDEN and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.longrepr = f"skipped where skips are forbidden: {reason}"
    return report
