# SPDX-License-Identifier: Apache-2.0
"""Checks that every release passes, whatever its own tests say; each is a test case of the suite ``checks``."""

from collections.abc import Iterator

import jsonschema

from allotment.messages.job import CaseOutcome, TestCase
from allotment.messages.manifest import DEFAULT_TYPE, ReleaseManifest
from allotment.messages.service import InstanceInfo
from allotment.secret import revealed

SUITE = "checks"


def check_release(manifest: ReleaseManifest) -> tuple[TestCase, ...]:
    """Check what can be told without an instance."""
    problems = "\n".join(_bad_schemas(manifest))
    return (_case("has a default type", _default_type(manifest)), _case("schemas are valid", problems))


def check_instance(manifest: ReleaseManifest, info: InstanceInfo) -> tuple[TestCase, ...]:
    """Check a green instance of the default type."""
    return (
        _case("has promises", None if info.promises else "no promise watches the instance"),
        _case("publishes what its schema says", _published(manifest, info)),
    )


def _case(name: str, problem: str | None) -> TestCase:
    outcome = CaseOutcome.FAILED if problem else CaseOutcome.PASSED
    return TestCase(SUITE, name, outcome, 0.0, problem or "")


def _default_type(manifest: ReleaseManifest) -> str | None:
    if DEFAULT_TYPE in manifest.software_types:
        return None
    names = ", ".join(sorted(manifest.software_types)) or "none"
    return f"software.cfg.json has no type '{DEFAULT_TYPE}', only {names}"


def _bad_schemas(manifest: ReleaseManifest) -> Iterator[str]:
    for name, software_type in manifest.software_types.items():
        for kind, schema in (("parameters", software_type.parameters), ("published", software_type.published)):
            try:
                jsonschema.Draft202012Validator.check_schema(schema)
            except jsonschema.SchemaError as error:
                yield f"type {name}: the schema of its {kind} is no JSON schema: {error.message}"


def _published(manifest: ReleaseManifest, info: InstanceInfo) -> str | None:
    validator = jsonschema.Draft202012Validator(manifest.software_types[DEFAULT_TYPE].published)
    # The error's own text would show values, which may be secret: only the place and the rule are named.
    problems = [
        f"published.{'.'.join(map(str, error.absolute_path))}: breaks the schema's rule '{error.validator}'"
        for error in validator.iter_errors(revealed(info.published))
    ]
    return "\n".join(problems) or None
