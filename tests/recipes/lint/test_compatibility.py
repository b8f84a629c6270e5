# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.lint.compatibility import accepted, against, promised

Release = Callable[..., Path]


def of(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ({"type": "integer"}, {"type": "string"}, "port: the type integer is no longer accepted"),
        ({}, {"type": "string"}, "port: the type array or boolean or integer or null or number or object is no longer"),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, 'port: "b" is no longer accepted'),
        ({}, {"enum": ["a"]}, 'port: only "a" is accepted now'),
        ({}, {"const": 1}, "port: const is 1 now"),
        ({"pattern": "a"}, {"pattern": "b"}, 'port: pattern is "b" now'),
        ({"minimum": 1}, {"minimum": 2}, "port: minimum is 2, was 1"),
        ({}, {"minLength": 2}, "port: minLength is 2"),
        ({"maximum": 9}, {"maximum": 8}, "port: maximum is 8, was 9"),
        ({}, {"maxLength": 8}, "port: maxLength is 8"),
        ({"default": 1}, {"default": 2}, "port: the default was 1 and is 2"),
        ({"default": 1}, {}, "port: the default was 1 and is none"),
        ({"items": {"type": "string"}}, {"items": {"type": "null"}}, "port[]: the type string is no longer accepted"),
        (of(a={}), of(), "port.a means nothing any more"),
        ({}, {"required": ["a"]}, "port.a is required now"),
    ],
)
def test_what_is_no_longer_accepted_is_told(old: dict[str, Any], new: dict[str, Any], what: str) -> None:
    (found,) = accepted(of(port=old), of(port=new), "")
    assert found.startswith(what)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "integer"}, {"type": "number"}),
        ({"type": "integer"}, {"type": ["integer", "null"]}),
        ({"type": "integer"}, {}),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}),
        ({"enum": ["a"]}, {}),
        ({"pattern": "a"}, {}),
        ({"minimum": 2}, {"minimum": 1}),
        ({"maximum": 2}, {"maximum": 3}),
        ({"maximum": 2}, {}),
        ({}, {"default": 1}),
        ({"required": ["a"]}, {}),
        (of(a={}), of(a={}, b={})),
    ],
)
def test_what_accepts_more_breaks_nothing(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert list(accepted(of(port=old), of(port=new), "")) == []


def test_a_closed_schema_takes_away_what_it_does_not_name() -> None:
    closed = {"additionalProperties": False}
    assert list(accepted(of(a={}), {**of(), **closed}, "")) == [
        "a is gone",
        "the parameters: others than those described are no longer accepted",
    ]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ({"type": "integer"}, {"type": "number"}, "url: may be of the type number now"),
        ({"type": "integer"}, {}, "url: may be of the type array"),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, 'url: may be another than "a" now'),
        ({"enum": ["a"]}, {}, 'url: may be another than "a" now'),
        (of(a={}), of(), "url.a is gone"),
        ({**of(a={}), "required": ["a"]}, of(a={}), "url.a may be missing now"),
        ({"items": {"type": "string"}}, {"items": {"type": "null"}}, "url[]: may be of the type null now"),
    ],
)
def test_what_readers_can_no_longer_count_on_is_told(old: dict[str, Any], new: dict[str, Any], what: str) -> None:
    (found,) = promised(of(url=old), of(url=new), "")
    assert found.startswith(what)


schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "boolean", ["string", "null"]]),
            "enum": st.lists(st.sampled_from(["a", "b", 1]), min_size=1, max_size=3),
            "minimum": st.integers(0, 5),
            "maxLength": st.integers(0, 5),
            "default": st.sampled_from(["a", 1]),
            "required": st.lists(st.sampled_from(["a", "b"]), max_size=2),
            "additionalProperties": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2), "items": inner}
    ),
    max_leaves=6,
)


@given(schemas)
def test_a_schema_that_did_not_change_breaks_nothing(schema: dict[str, Any]) -> None:
    assert list(accepted(schema, schema, "")) == []
    assert list(promised(schema, schema, "")) == []


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def committed(tmp_path: Path, release: Release) -> Path:
    profile = release(tmp_path / "site")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return profile


def test_a_release_that_did_not_change_breaks_nothing(committed: Path) -> None:
    assert against(committed, "HEAD") == []


def test_breaks_since_a_revision_are_named_one_by_one(committed: Path) -> None:
    folder = committed.parent
    schema = json.loads((folder / "input.json").read_text())
    schema["properties"]["port"]["default"] = 8081
    schema["required"] = ["port"]
    (folder / "input.json").write_text(json.dumps(schema))
    schema = json.loads((folder / "output.json").read_text())
    schema["required"] = []
    schema["properties"] = {}
    (folder / "output.json").write_text(json.dumps(schema))
    (folder / "instance.cfg.in").write_text("[buildout]\nparts =\n")
    assert [f"{item.path.name}: {item.what}" for item in against(committed, "HEAD")] == [
        "input.json: port is required now (since HEAD)",
        "input.json: port: the default was 8080 and is 8081 (since HEAD)",
        "instance.cfg.in: url is no longer published (since HEAD)",
        "output.json: url is gone (since HEAD)",
    ]


def test_a_software_type_that_is_gone_or_shared_is_told(committed: Path) -> None:
    path = committed.with_name("software.cfg.json")
    document = json.loads(path.read_text())
    document["types"]["default"]["shared"] = True
    path.write_text(json.dumps(document))
    assert [item.what for item in against(committed, "HEAD")] == ["the software type 'default' is now a shared one"]
    document["types"] = {"other": document["types"]["default"]}
    path.write_text(json.dumps(document))
    assert [item.what for item in against(committed, "HEAD")] == ["the software type 'default' of HEAD is gone"]


def test_every_profile_of_the_release_that_has_a_description_is_compared(committed: Path) -> None:
    folder = committed.parent
    for name in ("software-2.cfg", "software-3.cfg"):
        (folder / name).write_text(committed.read_text())
        (folder / f"{name}.json").write_text(committed.with_name("software.cfg.json").read_text())
    (folder / "software-4.cfg").write_text("[buildout]\nparts =\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "second")
    schema = json.loads((folder / "input.json").read_text())
    (folder / "input-2.json").write_text(json.dumps({**schema, "required": ["port"]}))
    described = folder / "software-2.cfg.json"
    described.write_text(described.read_text().replace("input.json", "input-2.json"))
    (folder / "software-3.cfg").unlink()
    found = [f"{item.path.name}: {item.what}" for item in against(committed, "HEAD")]
    assert found == [
        "input-2.json: port is required now (since HEAD)",
        "software-3.cfg: the profile and its schemas of HEAD are gone",
    ]
    assert [item.path.name for item in against(folder / "software-2.cfg", "HEAD")] == ["input-2.json"]
    assert against(folder / "software-4.cfg", "HEAD") == []


def test_a_new_release_breaks_nothing(committed: Path, release: Release) -> None:
    assert against(release(committed.parents[1] / "another"), "HEAD") == []


def test_an_unknown_revision_is_told(committed: Path) -> None:
    with pytest.raises(AllotmentError, match=r"--against: git archive: .*Name a commit"):
        against(committed, "nowhere")


def test_a_revision_is_never_an_option_of_git(committed: Path) -> None:
    with pytest.raises(AllotmentError, match="--against"):
        against(committed, "--output=stolen.tar")
    assert not Path("stolen.tar").exists()
