# SPDX-License-Identifier: Apache-2.0
"""Values that are no texts, written to a profile and read again."""

import configparser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_recipes.typed_options import dumps, loads

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(SCALARS, inner) | st.sets(SCALARS),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    text = dumps(value)
    assert "${" not in text
    assert "\n" not in text
    read = loads(text)
    assert read == value
    assert type(read) is type(value)


def test_a_text_without_the_mark_is_itself() -> None:
    assert loads("[1]") == "[1]"
    assert loads(dumps("!py![1]")) == "!py![1]"


@pytest.mark.parametrize("text", ["!py!", "!py!__import__('os')", "!py![", "!py!1+x", "!py!" + "[" * 5000])
def test_a_damaged_value_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no value: what follows !py! is not a Python literal"):
        loads(text)


@pytest.mark.parametrize("value", [object(), float("nan"), [float("inf")], {"a": print}])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="can't be an option: only plain data can"):
        dumps(value)


class Text(str):
    """A text of another kind, as YAML libraries and the like have them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "surprise"


def test_kinds_of_texts_become_texts() -> None:
    assert loads(dumps([Text("a")])) == ["a"]


def test_a_profile_keeps_it() -> None:
    value = {"x": ["two\nlines", "# ;", "${c:d}"]}
    parser = configparser.RawConfigParser()
    parser.read_string(f"[a]\nb = {dumps(value)}\n")
    assert loads(parser["a"]["b"]) == value


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ("recipe = allotment.recipes:wrapper\nwrapper-path = x\ncommand-line = !py![", "[one] command-line: '!py!['"),
        ("recipe = slapos.cookbook:wrapper\nwrapper-path = x\ncommand-line = !py![", "[one] command-line: '!py!['"),
        (
            "recipe = allotment.recipes:template.jinja2\noutput = x\ninline = x\ncontext = key a two:option",
            "[one] context: a: '!py!1+x'",
        ),
    ],
)
def test_a_damaged_value_of_a_profile_is_named(partition: Any, lines: str, where: str) -> None:
    result = partition.run(f"[buildout]\nparts = one\n[two]\noption = !py!1+x\n[one]\n{lines}\n")
    assert result.error.startswith(f"{where} is no value: what follows !py! is not a Python literal.")


def test_a_reference_alone_is_what_it_leads_to(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = one
        [two]
        option = !py![1, 'b c']
        [three]
        option = ${two:option}
        more = x ${two:option}
        [one]
        recipe = allotment.recipes:template.jinja2
        inline = {{ alone[1] }} {{ three["option"][0] }} {{ three["more"] }}
        output = one
        context =
          key alone three:option
          section three three
        """
    partition.run_twice(profile)
    assert partition.text("one") == "b c 1 x !py![1, 'b c']"
