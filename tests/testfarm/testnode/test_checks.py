# SPDX-License-Identifier: Apache-2.0
from typing import Any

from allotment.messages.desired_state import InstanceStatus, ObservedPromise
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import Blob, ReleaseManifest, SoftwareType
from allotment.messages.service import InstanceInfo
from allotment.secret import Secret
from allotment_testfarm.testnode import checks


def manifest(published: Any, name: str = "default") -> ReleaseManifest:
    kind = SoftwareType("Hello", "Says hello", "instance.cfg", {}, published)
    return ReleaseManifest("hello", "software.cfg", Blob("0" * 64, 1), {name: kind}, {})


def instance(password: str, promises: tuple[ObservedPromise, ...] = ()) -> InstanceInfo:
    state, status = InstanceState.STARTED, InstanceStatus.GREEN
    values = {"url": "http://a/", "password": Secret(password)}
    return InstanceInfo(
        "a", "inst-1", "a", None, "hello", "0" * 64, "default", state, status, "n", "part0", values, promises
    )


def problems(cases: Any) -> list[str]:
    """Return what went wrong, test case by test case; empty where it passed."""
    return [case.message for case in cases]


def test_a_release_needs_a_default_type_and_schemas_that_are_some() -> None:
    assert problems(checks.check_release(manifest({}))) == ["", ""]
    assert problems(checks.check_release(manifest({"type": "texts"}, "big"))) == [
        "software.cfg.json has no type 'default', only big",
        "release hello, type big: the schema of its published values is not a JSON schema: type: 'texts' is not valid "
        "under any of the given schemas. Correct the schema.",
    ]


def test_what_an_instance_publishes_is_compared_with_its_schema() -> None:
    release = manifest({"required": ["url"], "properties": {"password": {"minLength": 8}}})
    promise = ObservedPromise("up", "passed", "", 0.0)
    assert problems(checks.check_instance(release, instance("long enough", (promise,)))) == ["", ""]
    assert problems(checks.check_instance(release, instance("short"))) == [
        "no promise watches the instance",
        "published: parameter password: a secret breaks the rule 'minLength'. Correct its value.",
    ]
