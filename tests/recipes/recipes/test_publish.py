# SPDX-License-Identifier: Apache-2.0

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.messages.instance import SharedInstance
from allotment.secret import Secret
from allotment_recipes import typed_options, values
from allotment_recipes.recipes.publish import Recipe
from allotment_recipes.testing import given_instance

Publish = Callable[..., Any]


@pytest.fixture
def publish(make_recipe: Callable[..., Any]) -> Publish:
    """Make the recipe in an instance that has one shared instance, and install it."""

    def make(options: dict[str, str], **sections: Any) -> Any:
        recipe = make_recipe(Recipe, options, given_instance(shared=(SharedInstance("tenant"),)), **sections)
        recipe.paths = recipe.install()
        return recipe

    return make


def test_it_speaks_for_a_shared_instance(publish: Publish) -> None:
    for option in ("-shared", "-slave-reference"):
        recipe = publish({option: "tenant", "url": "http://t/"})
        assert recipe.run.published_shared == {"tenant": {"url": "http://t/"}}
        assert recipe.run.published == {}


def test_several_sections_speak_for_one(partition: Any) -> None:
    partition.shared = (SharedInstance("tenant"),)
    profile = (
        "[buildout]\nparts = a b\n[a]\nrecipe = allotment.recipes:publish\n-shared = tenant\nurl = http://t/\n"
        "[b]\nrecipe = allotment.recipes:publish\n-shared = tenant\nuser = me\n"
    )
    assert partition.run(profile).error == ""
    assert {name: dict(item) for name, item in partition.published.shared.items()} == {
        "tenant": {"url": "http://t/", "user": "me"}
    }
    assert partition.run(profile.replace("parts = a b", "parts = b")).error == ""
    assert dict(partition.published.shared["tenant"]) == {"user": "me"}, "what is not published any more goes"
    waiting = profile.replace("user = me", "user = ${child:connection-user}")
    waiting += "[child]\nrecipe = allotment.recipes:request\nname = b\nrelease = shop\nreturn = user\n"
    assert partition.run(profile).error == ""
    assert partition.run(waiting).outcome == "waiting"
    assert dict(partition.published.shared["tenant"]) == {"url": "http://t/", "user": "me"}, "this is no complete run"
    twice = profile.replace("user = me", "url = http://u/")
    assert partition.run(twice).error == "[b] url: another section publishes another value. Publish each value once."


def test_one_value_may_be_published_twice(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = one two
        [one]
        recipe = allotment.recipes:publish
        url = http://a/
        port = 80
        [two]
        recipe = allotment.recipes:publish
        -serialisation = json
        -extends = three
        url = http://a/
        list = [1]
        [three]
        recipe = allotment.recipes:random.integer
        minimum = 3
        maximum = 3
        """
    assert partition.run(profile).error == ""
    numbers = {"minimum": 3, "maximum": 3, "value": 3}
    assert dict(partition.published.values) == {"url": "http://a/", "port": "80", "list": [1], **numbers}
    error = partition.run(profile.replace("port = 80", "value = 2")).error
    assert error == "[two] value: another section publishes another value. Publish each value once."


def test_values_of_other_sections_are_published_too(publish: Publish) -> None:
    sections = {
        "more": {"recipe": "x", "-extends": "zoo part", "url": "hidden", "b": "2", "_profile_base_location_": "/"},
        "zoo": {"-publish": "c", "c": "3", "d": "4", "-private": "5"},
    }
    recipe = publish({"-extends": "more", "url": "own"}, **sections)
    assert recipe.run.published == {"url": "own", "b": "2", "c": "3"}


def test_some_of_its_options_may_be_chosen(publish: Publish) -> None:
    assert publish({"-publish": "a", "a": "1", "b": "2"}).run.published == {"a": "1"}


def test_what_is_no_text_is_published_as_it_is(publish: Publish) -> None:
    recipe = publish({"a": typed_options.dumps([1, {"b": None}]), "s": typed_options.dumps({"y", "x"}), "t": "8080"})
    assert recipe.run.published == {"a": [1, {"b": None}], "s": ["x", "y"], "t": "8080"}


@pytest.mark.parametrize("text", ["!py!{1, 'a'}", "!py!((", "!py!1e999", r"!py!'\ud800'", "!py!" + "[" * 100_000])
def test_what_only_looks_like_a_value_is_a_text(publish: Publish, text: str) -> None:
    assert publish({"a": text}).run.published == {"a": text}


def test_texts_that_are_json_become_values_on_demand(publish: Publish) -> None:
    options = {"port": "8080", "list": "[1]", "name": "shop", "odd": "NaN", "half": r'"\ud800"', "deep": "[" * 100_000}
    assert publish({**options, "-serialisation": "json"}).run.published == {**options, "port": 8080, "list": [1]}
    assert publish({**options, "-serialisation": "text"}).run.published == options


def test_all_is_published_as_one_text_of_json_on_demand(publish: Publish) -> None:
    recipe = publish({"port": "8080", "a": "x", "-serialisation": "json-in-xml"})
    assert recipe.run.published == {"_": '{"a": "x", "port": "8080"}'}


def test_one_text_of_json_is_a_secret_when_it_holds_one(partition: Any) -> None:
    partition.parameters = {"password": Secret('s3same "open"')}
    profile = """\
        [buildout]
        parts = publish
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [publish]
        recipe = allotment.recipes:publish
        -serialisation = json-in-xml
        password = ${slap:configuration.password}
        """
    assert partition.run(profile).error == ""
    whole = partition.published.values["_"]
    assert isinstance(whole, Secret)
    assert json.loads(whole.reveal()) == {"password": 's3same "open"'}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"-shared": "nobody"}, "[part] -shared: there is no shared instance 'nobody'. Publish for those that exist."),
        ({"-slave-reference": "nobody"}, "[part] -slave-reference: there is no shared instance 'nobody'."),
        ({"-share": "tenant"}, "[part] -share: unknown option. Did you mean '-shared'?"),
        ({"-serialisation": "xml"}, "[part] -serialisation: 'xml' is not one of its values."),
        ({"-publish": "ulr", "url": "x"}, "[part] -publish: [part] has no option 'ulr'. Did you mean 'url'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(publish: Publish, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        publish(options)


FAILSAFE = """\
    [buildout]
    parts = {parts}
    [publish]
    recipe = allotment.recipes:publish
    -shared = tenant
    -error-status-file = var/publish-error
    url = http://t/
    [directory]
    recipe = allotment.recipes:mkdirectory
    etc = etc
    """


def test_an_error_in_a_file_is_none_of_the_run(partition: Any) -> None:
    error = "[publish] -shared: there is no shared instance 'tenant'. Publish for those that exist."
    for _ in range(2):
        assert partition.run(FAILSAFE.format(parts="publish directory")).outcome == "done"
        assert partition.text("var/publish-error") == f"{error}\n"
        assert partition.published.errors == (error,)
    partition.shared = (SharedInstance("tenant"),)
    for _ in range(2):
        assert partition.run().outcome == "done"
        assert "var/publish-error" not in partition.files()
        assert partition.published.errors == ()
    assert dict(partition.published.shared["tenant"]) == {"url": "http://t/"}
    partition.shared = ()
    partition.run()
    assert partition.run(FAILSAFE.format(parts="directory")).outcome == "done"
    assert "var/publish-error" not in partition.files()


@given(st.text())
def test_any_option_can_be_written_as_json(text: str) -> None:
    assert values.value_of(text) == text or text.startswith("!py!")
    json.dumps(values.value_of(f"!py!{text}"), allow_nan=False)


JSON_VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON_VALUES)
def test_values_come_back_from_options(value: Any) -> None:
    assert values.value_of(typed_options.dumps(value)) == value
    assert values.json_object("a", json.dumps({"a": value})) == {"a": value}
