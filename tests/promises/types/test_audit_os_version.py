# SPDX-License-Identifier: Apache-2.0
import platform
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MeasureInside = Callable[..., list[Measurement]]
RELEASE = """
printf 'PRETTY_NAME="Ubuntu 22.04.4 LTS"\\nID=ubuntu\\nVERSION_ID="22.04"\\nID_LIKE=debian\\n' > os-release
mount --bind os-release /etc/os-release
"""


def test_this_machine_is_what_it_says(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    found = platform.freedesktop_os_release()
    version = {"versions": found["VERSION_ID"]} if "VERSION_ID" in found else {}
    measured = make_promise("audit_os_version", dist=found["ID"], **version).sense()
    assert measured.is_passed
    assert measured.message == f"the machine runs {found['PRETTY_NAME']} (Linux {platform.release()})"


@pytest.mark.parametrize(
    ("versions", "is_passed"),
    [("22.04", True), ("20.04 22.04", True), ("22", True), ("2", False), ("", True), ("24.04", False)],
)
def test_versions_are_compared_by_their_parts(measure_inside: MeasureInside, versions: str, is_passed: bool) -> None:
    (measured,) = measure_inside("--mount", RELEASE, "audit_os_version", dist="ubuntu", versions=versions)
    assert measured.is_passed is is_passed


def test_other_distribution_fails(measure_inside: MeasureInside) -> None:
    (measured,) = measure_inside("--mount", RELEASE, "audit_os_version", versions="12 13")
    kernel = platform.release()
    expected = f"the machine runs Ubuntu 22.04.4 LTS (Linux {kernel}), that is ubuntu 22.04, expected debian 12 or 13"
    assert (measured.is_passed, measured.message) == (False, expected)


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="dist: is empty"):
        make_promise("audit_os_version", dist="")
