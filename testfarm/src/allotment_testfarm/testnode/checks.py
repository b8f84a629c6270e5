# SPDX-License-Identifier: Apache-2.0
"""Checks that every release passes, whatever its own tests say; each is a test case of the suite ``checks``."""

from collections.abc import Callable

from allotment.messages.job import CaseOutcome, TestCase
from allotment.messages.manifest import DEFAULT_TYPE, ReleaseManifest
from allotment.messages.service import InstanceInfo
from allotment.parameters import ParameterError, check_schemas, checked

SUITE = "checks"


def check_release(manifest: ReleaseManifest) -> tuple[TestCase, ...]:
    """Check what can be told without an instance."""
    return (
        _case("has a default type", _default_type(manifest)),
        _case("schemas are valid", _refusal(lambda: check_schemas(manifest))),
    )


def check_instance(manifest: ReleaseManifest, info: InstanceInfo) -> tuple[TestCase, ...]:
    """Check a green instance of the default type."""
    schema = manifest.software_types[DEFAULT_TYPE].published
    return (
        _case("has promises", None if info.promises else "no promise watches the instance"),
        _case("publishes what its schema says", _refusal(lambda: checked(info.published, schema, "published"))),
    )


def _case(name: str, problem: str | None) -> TestCase:
    outcome = CaseOutcome.FAILED if problem else CaseOutcome.PASSED
    return TestCase(SUITE, name, outcome, 0.0, problem or "")


def _default_type(manifest: ReleaseManifest) -> str | None:
    if DEFAULT_TYPE in manifest.software_types:
        return None
    names = ", ".join(sorted(manifest.software_types)) or "none"
    return f"software.cfg.json has no type '{DEFAULT_TYPE}', only {names}"


def _refusal(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ParameterError as error:
        return str(error)
    return None
