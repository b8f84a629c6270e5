# SPDX-License-Identifier: Apache-2.0
"""What the driver does faster than zc.buildout gives what zc.buildout gives."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import zc.buildout.buildout as upstream
from hypothesis import given
from hypothesis import strategies as st

from allotment_recipes import profiles
from allotment_recipes.driver import Options
from allotment_recipes.option_error import ProfileError

NAMES = ("a", "b", "c", "d")
OPTIONS = st.dictionaries(st.sampled_from(["x", "y", "x +", "y -", "z"]), st.sampled_from(["1", "1\n2", ""]))


@st.composite
def sections(draw: st.DrawFn) -> dict[str, dict[str, str]]:
    """Draw sections, each of which may extend some of those before it."""
    found: dict[str, dict[str, str]] = {}
    for number, name in enumerate(NAMES):
        macros = draw(st.lists(st.sampled_from(NAMES[:number]), max_size=2)) if number else []
        found[name] = draw(OPTIONS) | ({"<": "\n".join(macros)} if macros else {})
    return found


def extend(kind: type, raw: dict[str, dict[str, str]], name: str) -> Any:
    buildout = SimpleNamespace(_raw=copy.deepcopy(raw), nearest=lambda section: "Correct it")
    return kind(buildout, name, buildout._raw[name])._do_extend_raw(name, buildout._raw[name], [])


@given(sections())
def test_macros_are_merged_as_upstream_does(raw: dict[str, dict[str, str]]) -> None:
    for name in NAMES:
        ours = extend(Options, raw, name)
        assert ours == extend(upstream.Options, raw, name)
        assert list(ours) == list(extend(upstream.Options, raw, name)), "templates see sections in this order"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"a": {"<": "b"}, "b": {"<": "a"}}, "[a] extends itself: a -> b -> a. Take one of these '<' out."),
        ({"a": {"<": "nobody"}}, "[a] <: the section 'nobody' does not exist. Correct it."),
    ],
)
def test_a_wrong_macro_is_named(raw: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        extend(Options, raw, "a")
    assert str(caught.value) == message


def test_what_is_read_is_copied_as_deeply_as_it_can_change() -> None:
    key = upstream.SectionKey("value", "file")
    before = {"section": {"option": key}, "empty": {}}
    after = profiles._duplicate(before)
    after["section"]["option"].addToValue("more", "other")
    after["empty"]["option"] = key
    assert (key.value, len(key.history)) == ("value", 1)
    assert before["empty"] == {}
    assert after["section"]["option"].value == "value\nmore"
    assert [item.value for item in after["section"]["option"].history] == ["value", "more"]
