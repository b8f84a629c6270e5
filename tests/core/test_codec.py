# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import allotment_testfarm.wire  # noqa: F401 (registers its messages)
from allotment.codec import Json, canonical, decode, dumps, encode, loads, message, messages, nesting
from allotment.errors import MessageError, UnknownFormatError
from allotment.messages.desired_state import InstanceStatus, ObservedState
from allotment.messages.instance import ChildRequest, InstanceInput, InstanceState
from allotment.messages.job import Job, Lease
from allotment.messages.manifest import Blob, Distribution, ReleaseManifest
from allotment.messages.promise import PromiseFile
from allotment.secret import Secret, find

Values = Callable[[Any], st.SearchStrategy[Any]]
NAMES = sorted(messages())
JOB = {"format": 1, "id": 1, "project": "p", "revision": "r", "release": "hello", "profile": "software.cfg"}


@dataclass(frozen=True)
class _Inner:
    size: int


@dataclass(frozen=True)
class _Outer:
    """A type with each kind of field."""

    text: str
    number: float = 0.0
    is_set: bool = False
    token: Secret | None = None
    state: InstanceState = InstanceState.STARTED
    inner: _Inner | None = None
    items: tuple[_Inner, ...] = ()
    anything: Json = None
    by_name: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_message_comes_back_as_it_was(name: str, values: Values, data: st.DataObject) -> None:
    cls = messages()[name]
    sent = data.draw(values(cls))
    text = dumps(sent)
    received = loads(cls, text)
    assert received == sent
    assert dumps(received) == text


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_redacted_message_holds_no_secret(name: str, values: Values, data: st.DataObject) -> None:
    sent = data.draw(values(messages()[name]))
    assert not list(_secrets(encode(sent, redacted=True)))


def _secrets(value: Any) -> Iterator[Any]:
    """Yield each secret in plain JSON data."""
    if isinstance(value, dict):
        if list(value) == ["$secret"]:
            yield value
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_format_is_refused_with_the_version_that_reads_it(name: str) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        decode(messages()[name], {"format": 7}, "file.json")
    assert str(caught.value) == (
        f"file.json: {name} has format 7; allotment 0.1 reads format 1."
        " Read it with the allotment version that wrote it, or a later one."
    )


@pytest.mark.parametrize("found", [True, 1.0, "1", None, [1]])
def test_only_the_whole_number_is_a_format(found: Any) -> None:
    with pytest.raises(UnknownFormatError):
        decode(Job, {**JOB, "format": found})


@pytest.mark.parametrize(
    ("cls", "data", "text"),
    [
        (Job, [], "job is a list, not an object. Write a JSON object."),
        (Job, None, "job is null, not an object. Write a JSON object."),
        (Job, {}, 'job has no format. Add "format": 1.'),
        (
            Job,
            {**JOB, "relaese": "x"},
            "job has an unknown field 'relaese'. Did you mean 'release'? Valid: id, input_hash, kind, options,"
            " platform, profile, project, release, revision, timeout.",
        ),
        (Job, {"format": 1, "id": 1}, "job lacks the field 'project'. Add project."),
        (Job, {**JOB, "id": "1"}, "job.id is a string, not a whole number. Write a whole number."),
        (Job, {**JOB, "id": True}, "job.id is a boolean, not a whole number. Write a whole number."),
        (Job, {**JOB, "id": 1.5}, "job.id is a number, not a whole number. Write a whole number."),
        (
            Job,
            {**JOB, "id": 2**53 + 1},
            f"job.id is {2**53 + 1}, beyond what JSON numbers hold exactly. Stay within {2**53}.",
        ),
        (Job, {**JOB, "timeout": True}, "job.timeout is a boolean, not a number. Write a number."),
        (Job, {**JOB, "timeout": float("nan")}, "job.timeout is nan, which JSON can't hold. Write a number."),
        (Job, {**JOB, "project": 3}, "job.project is a number, not a string. Write a string."),
        (Job, {**JOB, "options": []}, "job.options is a list, not an object. Write a JSON object."),
        (Lease, {"format": 1, "id": 1, "job": {**JOB, "format": 2}}, "lease lacks the field 'attempt'. Add attempt."),
        (
            ObservedState,
            {"format": 1, "software": {}},
            "observed-state.software is an object, not a list. Write a JSON list.",
        ),
        (
            ObservedState,
            {"format": 1, "instances": [{"partition": "p", "instance": "i", "generation": 1, "status": "gren"}]},
            "observed-state.instances[0].status is 'gren'. Did you mean 'green'? Valid: "
            + ", ".join(sorted(item.value for item in InstanceStatus))
            + ".",
        ),
        (
            ChildRequest,
            {"name": "x", "release": "y", "shared": 1},
            "ChildRequest.shared is a number, not a boolean. Write a boolean.",
        ),
        (_Outer, {"text": "x", "token": "open"}, '_Outer.token is not a secret. Write {"$secret": "value"}.'),
        (
            _Outer,
            {"text": "x", "inner": {"size": None}},
            "_Outer.inner.size is null, not a whole number. Write a whole number.",
        ),
        (
            _Outer,
            {"text": "x", "by_name": {"a": "b"}},
            "_Outer.by_name.a is a string, not a whole number. Write a whole number.",
        ),
        (
            PromiseFile,
            {"format": 1, "type": "x", "period": -1},
            "promise: period, timeout, over and jitter are seconds, zero or above.",
        ),
    ],
)
def test_wrong_message_names_place_problem_and_fix(cls: type, data: Any, text: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(cls, data)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        (b"\xff{}", "'utf-8' codec can't decode"),
        ('{"format": NaN}', "NaN is no JSON number"),
        ('{"format": -Infinity}', "-Infinity is no JSON number"),
        ('{"format": 1e999}', "1e999 is beyond what JSON numbers hold"),
        ('{"format": "\\ud800"}', "surrogates not allowed"),
        ("[" * 200_000, "recursion"),
        ("9" * 10_000, "integer string conversion"),
    ],
)
def test_text_that_is_no_json_is_refused(text: str | bytes, problem: str) -> None:
    with pytest.raises(MessageError) as caught:
        loads(Job, text, "job.json")
    assert str(caught.value).startswith("job.json: job is not JSON: ")
    assert problem in str(caught.value)
    assert caught.value.fix == "Write a JSON object"


def test_values_nested_too_deeply_are_refused() -> None:
    deep: Any = None
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(MessageError, match="nested too deeply"):
        decode(Job, {**JOB, "options": {"deep": deep}})


def test_message_inside_a_message_carries_its_own_format() -> None:
    lease = Lease(1, decode(Job, JOB), 1, "node", 2, 3.0, 4.0)
    data = encode(lease)
    assert data["job"]["format"] == 1
    data["job"]["format"] = 9
    with pytest.raises(UnknownFormatError, match=r"lease\.job has format 9"):
        decode(Lease, data)


def test_secrets_inside_json_are_secrets_after_decoding() -> None:
    parameters = {"deep": [{"token": {"$secret": "planted"}}], "odd": {"$secret": 1}, "two": {"$secret": "x", "y": 1}}
    found = decode(_Outer, {"text": "x", "token": {"$secret": "top"}, "anything": parameters})
    assert find(found.anything) == {"planted"}
    assert found.token == Secret("top")
    assert found.anything["odd"] == {"$secret": 1}
    assert "planted" not in repr(found)
    assert encode(found)["anything"] == parameters
    assert encode(found, redacted=True)["anything"]["deep"] == [{"token": "<secret>"}]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ("\ud800", "the text"),
        ({"a": ["b", {"c": "x\udfff"}]}, "a[1].c"),
        ({"a": {"\ud800": 1}}, r"a.\ud800"),
        (("é", "\udc80"), "[1]"),
    ],
)
def test_half_a_surrogate_pair_is_an_error_that_names_the_place(data: Json, place: str) -> None:
    with pytest.raises(MessageError) as raised:
        canonical(data)
    assert str(raised.value) == f"{place} has half of a surrogate pair in it, which no file can hold. Take it out."
    str(raised.value).encode()


def test_canonical_bytes_do_not_depend_on_order() -> None:
    assert canonical({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'.encode()
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("inf")})


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        dumps(object())


def test_manifest_is_known_by_the_hash_of_its_bytes() -> None:
    one = ReleaseManifest("hello", "software.cfg", Blob("0" * 64, 1), {}, {}, (Distribution("d", "1", "f"),))
    assert loads(ReleaseManifest, dumps(one)).sha256 == one.sha256
    assert len(one.sha256) == 64


def test_new_message_is_listed_under_its_name() -> None:
    @message("of-a-test", format=3)
    @dataclass(frozen=True)
    class OfATest:
        """A message of somebody else."""

        text: str

    assert messages()["of-a-test"] is OfATest
    assert json.loads(dumps(OfATest("x"))) == {"format": 3, "text": "x"}


def test_field_types_are_kept() -> None:
    sent = InstanceInput("i", "n", "t", "node", "part0", InstanceState.STOPPED, "default", "m", ("127.0.0.1",))
    received = loads(InstanceInput, dumps(sent))
    assert isinstance(received.addresses, tuple)
    assert received.state is InstanceState.STOPPED
    assert isinstance(decode(_Outer, {"text": "x", "number": 3}).number, float)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ('"[{"', 0),
        ('[{"a": []}, []]', 3),
        (r'["\"[[", []]', 2),
        (r'["a\\", [[[]]], "b\\"]', 4),  # the first text ends at its second quote: what follows is no part of it
        (r'["\\\"", [[]]]', 3),
    ],
)
def test_nesting_counts_brackets_outside_of_texts(text: str, depth: int) -> None:
    assert nesting(text.encode()) == depth


def test_nesting_of_a_text_that_never_ends_is_found_in_one_pass() -> None:
    assert nesting(b'["' + b'\\"' * 500_000) == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_whole_number_beyond_floats_is_refused(sign: int) -> None:
    with pytest.raises(MessageError) as caught:
        decode(PromiseFile, {"format": 1, "type": "x", "period": sign * 10**400}, "web.json")
    assert str(caught.value) == ("web.json: promise.period is beyond what JSON numbers hold. Write a smaller number.")
