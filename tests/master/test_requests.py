# SPDX-License-Identifier: Apache-2.0
"""Requests: idempotent by name, checked against the release, refused with a fix."""

from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import Signature, SignedManifest
from allotment.secret import Secret
from allotment_master.db import manifests


def test_the_same_request_again_changes_nothing(house: Any) -> None:
    house.ready()
    first = house.request(parameters={"greeting": "hi", "password": "very secret"})
    kinds = house.kinds()
    assert house.request(parameters={"greeting": "hi", "password": "very secret"}) == first
    assert house.kinds() == kinds
    assert house.documents()["one:one"].generation == 1


def test_changed_parameter_makes_a_new_generation_of_the_same_instance(house: Any) -> None:
    house.ready()
    first = house.request(parameters={"greeting": "hi"})
    second = house.request(parameters={"greeting": "ho"})
    assert (second.instance, second.partition, second.generation) == (first.instance, first.partition, 2)
    assert house.documents()["one:one"].parameters == {"greeting": "ho"}


def test_node_is_told_by_a_sequence_that_grows_with_each_change_only(house: Any) -> None:
    house.ready()
    before = house.master.desired("node-1", -1).sequence
    house.request()
    after = house.master.desired("node-1", -1).sequence
    house.request()
    assert after > before
    assert house.master.desired("node-1", after) is None


def test_secret_parameters_reach_the_node_as_secrets_and_no_event(house: Any) -> None:
    house.ready()
    house.request(parameters={"password": "first secret"})
    house.request(parameters={"password": "other secret"})
    assert house.documents()["one:one"].parameters == {"password": Secret("other secret")}
    assert "secret" not in repr([event.data for event in house.master.events(0, 100)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"greting": "hi"},
            "release hello, type default: unknown parameter greting. "
            "Did you mean 'greeting'? Valid: greeting, nested, password, port.",
        ),
        (
            {"greeting": 7},
            "release hello, type default: parameter greeting: 7 is not of type 'string'. "
            "Correct its value; it is: What to say.",
        ),
        (
            {"nested": {"a": "b"}},
            "release hello, type default: parameter nested.a: 'b' is not of type 'integer'. Correct its value.",
        ),
        (
            {"password": "short"},
            "release hello, type default: parameter password: a secret breaks the rule 'minLength'. Correct its value.",
        ),
    ],
)
def test_parameter_against_the_schema_is_refused_with_field_problem_and_fix(
    house: Any, parameters: dict[str, Any], message: str
) -> None:
    house.ready()
    with pytest.raises(AllotmentError) as caught:
        house.request(parameters=parameters)
    assert str(caught.value) == message
    assert "instance.requested" not in house.kinds()


def test_missing_parameter_is_named(house: Any, make_manifest: Any) -> None:
    house.add_node()
    kind = make_manifest().manifest.software_types["default"]
    strict = type(kind)("T", "D", "instance.cfg", {**kind.parameters, "required": ["port"]}, {})
    house.add_release("strict", software_types={"default": strict})
    with pytest.raises(AllotmentError) as caught:
        house.request(release="strict")
    assert str(caught.value) == "release strict, type default: parameter port is missing. Add port."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"release": "helo"}, "no release is called 'helo'. Did you mean 'hello'? Valid: hello."),
        (
            {"software_type": "othr"},
            "release hello has no software type 'othr'. Did you mean 'other'? Valid: default, other.",
        ),
        ({"name": "a b"}, "'a b' is no instance's name. Use up to 63 letters, digits, '.', '_' and '-'."),
        ({"name": "a/b"}, "'a/b' is no instance's name. Use up to 63 letters, digits, '.', '_' and '-'."),
        (
            {"state": InstanceState.DESTROYED},
            "no instance is called 'one'. There is nothing to destroy.",
        ),
    ],
)
def test_wrong_request_is_refused_with_its_fix(house: Any, change: dict[str, Any], message: str) -> None:
    house.ready()
    with pytest.raises(AllotmentError) as caught:
        house.request(**change)
    assert str(caught.value) == message


def test_newer_release_is_used_once_it_is_supplied(house: Any) -> None:
    old = house.ready()
    assert house.request().manifest == old
    new = house.add_release(licences=("MIT",))
    assert house.request().manifest == old
    house.supply()
    assert house.request().manifest == new
    assert house.documents()["one:one"].manifest == new


def test_pinned_manifest_that_is_not_supplied_where_the_instance_is_changes_nothing(house: Any) -> None:
    old = house.ready()
    house.request()
    new = house.add_release(licences=("MIT",))
    with pytest.raises(AllotmentError) as caught:
        house.request(release=new)
    assert str(caught.value) == (f"release {new} is not supplied on node-1, where 'one' is. Supply it there first.")
    assert house.master.instance("one").manifest == old


def test_constraint_that_its_place_does_not_meet_is_refused(house: Any) -> None:
    house.ready()
    house.request()
    with pytest.raises(AllotmentError) as caught:
        house.request(sla={"node": "node-2"})
    assert str(caught.value) == (
        "'one' is on node-1, which is not node=node-2. "
        "Leave the constraint as it was, or destroy the instance and request it anew."
    )


def test_stopped_and_started_again_keeps_its_place_and_parameters(house: Any) -> None:
    house.ready()
    house.request(parameters={"greeting": "hi"})
    house.set_state("one", "stopped")
    assert house.documents()["one:one"].state == "stopped"
    info = house.set_state("one", "started")
    document = house.documents()["one:one"]
    assert (document.state, document.parameters, info.partition) == ("started", {"greeting": "hi"}, "part0")


def test_destroyed_instance_is_gone_when_its_node_says_so_and_its_name_is_free(house: Any) -> None:
    house.ready()
    first = house.request()
    house.set_state("one", "destroyed")
    document = house.documents()["one:one"]
    assert document.state == "destroyed"
    with pytest.raises(AllotmentError) as caught:
        house.request()
    assert str(caught.value) == "'one' is being destroyed. Wait until it is gone, or take another name."
    house.report(document, status="destroyed")
    assert house.documents() == {}
    assert (house.master.instance("one").status, house.master.instance("one").node) == ("destroyed", None)
    assert house.request().instance != first.instance


def test_instance_without_a_place_is_destroyed_at_once(house: Any) -> None:
    house.add_release()
    house.request()
    assert house.set_state("one", "destroyed").status == "destroyed"


def test_supply_that_instances_use_is_not_taken_away(house: Any) -> None:
    house.ready()
    house.request()
    with pytest.raises(AllotmentError) as caught:
        house.supply(state="removed")
    assert str(caught.value) == "on node-1 the release is used by one. Destroy these first."


def test_unsigned_release_is_supplied_as_development_only(house: Any) -> None:
    sha256 = house.add_release("raw", is_signed=False)
    house.add_node()
    with pytest.raises(AllotmentError) as caught:
        house.supply(release="raw")
    assert str(caught.value) == (
        f"release raw {sha256} is not signed. "
        "Let the farm prove it, or supply it as development to a node that allows this."
    )
    house.supply(release="raw", development=True)
    assert [(item.manifest, item.development) for item in house.master.desired("node-1", -1).supplies] == [
        (sha256, True)
    ]


def test_manifest_without_its_closure_is_refused(house: Any, make_manifest: Any) -> None:
    signed = make_manifest()
    with pytest.raises(AllotmentError) as caught:
        house.master.add_manifest(signed)
    assert str(caught.value) == (
        f"blob {signed.manifest.closure.sha256} is not here. Upload the release's closure first."
    )


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"type": "nonsense"},
            "release hello, type default: the schema of its parameters is not a JSON schema: type: ",
        ),
        (
            {"$ref": "http://127.0.0.1:1/x"},
            "release hello, type default: the schema of its parameters refers to http://127.0.0.1:1/x, "
            "which is not in it. Put that into its $defs.",
        ),
    ],
)
def test_manifest_with_an_unusable_schema_is_refused(house: Any, schema: Any, message: str, make_manifest: Any) -> None:
    kind = make_manifest().manifest.software_types["default"]
    with pytest.raises(AllotmentError) as caught:
        house.add_release(software_types={"default": type(kind)("T", "D", "instance.cfg", schema, {})})
    assert str(caught.value).startswith(message)


def test_secret_of_another_type_is_not_shown(house: Any) -> None:
    house.ready()
    with pytest.raises(AllotmentError) as caught:
        house.request(parameters={"password": 12345678})
    assert "12345678" not in str(caught.value)
    assert "parameter password: a secret breaks the rule 'type'" in str(caught.value)


def test_key_signs_a_release_once(house: Any, make_manifest: Any) -> None:
    sha256 = house.add_release()
    signed = make_manifest()
    forged, other = Signature(signed.signatures[0].key, "forged"), Signature("ed25519:other", "BB")
    house.master.add_manifest(SignedManifest(signed.manifest, (forged, other)))
    stored = house.master.read(lambda connection: manifests.get(connection, sha256))
    assert stored.signatures == (*signed.signatures, other)


def test_signature_that_comes_later_is_added(house: Any) -> None:
    house.add_release(is_signed=False)
    house.add_release(is_signed=True)
    house.add_release(is_signed=True)
    assert house.kinds().count("release.added") == house.kinds().count("release.signed") == 1


def test_release_that_is_given_again_is_the_newest(house: Any) -> None:
    """A revert proves an older manifest once more; what was reverted must not be deployed after it."""
    first = house.ready()
    second = house.add_release(licences=("MIT",))
    house.supply()
    assert house.request().manifest == second
    assert house.add_release() == first
    assert house.add_release() == first
    assert house.request().manifest == first
    listed = house.master.read(lambda connection: manifests.every(connection, None, 10))
    assert [info.manifest for _, info in listed] == [first, second]
    assert house.kinds().count("release.renewed") == 1
