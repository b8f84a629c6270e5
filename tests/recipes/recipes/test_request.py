# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret
from allotment_recipes.recipes import request, request_optional
from allotment_recipes.testing import given_instance
from allotment_recipes.waiting import Waiting

Make = Callable[..., Any]
BASIC = {"name": "b", "release": "shop"}


@pytest.fixture
def ask(make_recipe: Make) -> Make:
    """Make the recipe with options beside a name and a release; ``published`` is what the child has said."""

    def make(options: dict[str, str], published: dict[str, Any] | None = None, recipe: type = request.Recipe) -> Any:
        answer = {"b": ChildAnswer(InstanceState.STOPPED, published, "inst-7")} if published is not None else {}
        return make_recipe(recipe, {**BASIC, **options}, given_instance(answers=answer))

    return make


def test_every_option_is_asked_for(ask: Make) -> None:
    recipe = ask(
        {
            "software-type": "small",
            "state": "stopped",
            "shared": "true",
            "parameters": '{"port": 1, "a": "hidden"}',
            "config-a": "text",
            "config-n": "!py!{'deep': [1, True]}",
            "sla-node": "node-1",
        }
    )
    (child,) = recipe.run.requests.values()
    assert (child.name, child.release, child.software_type, child.shared) == ("b", "shop", "small", True)
    assert dict(child.parameters) == {"port": 1, "a": "text", "n": {"deep": [1, True]}}
    assert (dict(child.sla), child.state) == ({"node": "node-1"}, InstanceState.STOPPED)
    assert recipe.raw["requested-state"] == "stopped"


def test_the_answer_is_read(ask: Make) -> None:
    recipe = ask({"return": "url"}, {"url": "http://b/", "ports": [1, 2]})
    assert recipe.install() == recipe.update() == []
    raw = recipe.raw
    assert (raw["connection-url"], raw["connection-ports"]) == ("http://b/", "[1, 2]")
    assert (raw["instance-guid"], raw["instance-state"], raw["requested-state"]) == ("inst-7", "stopped", "started")


def test_without_an_answer_its_options_are_empty(ask: Make) -> None:
    recipe = ask({})
    raw = recipe.raw
    assert recipe.run.requests["b"].shared is False
    assert (raw["instance-guid"], raw["instance-state"]) == ("", "")


def test_it_waits_for_what_is_to_be_returned(ask: Make) -> None:
    for published in (None, {"url": "x"}):
        with pytest.raises(Waiting, match="child 'b' has not published "):
            ask({"return": "url password"}, published)


def test_an_optional_child_is_never_waited_for(ask: Make) -> None:
    options = {"return": "url password"}
    raw = ask(options, None, request_optional.Recipe).raw
    assert (raw["connection-url"], raw["connection-password"], raw["instance-state"]) == ("", "", "")
    raw = ask(options, {"url": "x"}, request_optional.Recipe).raw
    assert (raw["connection-url"], raw["connection-password"]) == ("x", "")


def test_a_profile_goes_on_without_an_optional_child(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = publish
        [frontend]
        recipe = allotment.recipes:request-optional
        name = frontend
        software-url = frontend
        shared = true
        return = url
        [publish]
        recipe = allotment.recipes:publish
        url = ${frontend:connection-url}
        """
    assert partition.run(profile).outcome == "done"
    assert dict(partition.published.values) == {"url": ""}
    assert partition.requests.requests[0].release == "frontend"
    partition.answers = {"frontend": ChildAnswer(InstanceState.STARTED, {"url": "https://f/"})}
    assert partition.run().outcome == "done"
    assert dict(partition.published.values) == {"url": "https://f/"}
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert partition.requests.requests == ()


def test_a_child_of_slapos_gets_one_text_of_json_and_answers_so(ask: Make) -> None:
    options = {"serialisation": "json-in-xml", "config-a": "x", "parameters": '{"n": 1}', "return": "url"}
    recipe = ask(options, {"_": '{"url": "http://b/", "n": 1}'})
    (child,) = recipe.run.requests.values()
    assert dict(child.parameters) == {"_": '{"a": "x", "n": 1}'}, "the same text at each run"
    assert (recipe.raw["connection-url"], recipe.raw["connection-n"]) == ("http://b/", "1")
    assert ask(options, {"url": "plain"}).raw["connection-url"] == "plain"
    for odd in ("{", "[]", 7, [1], r'{"url": "\ud800"}', '{"url": NaN}'):
        with pytest.raises(Waiting):
            ask(options, {"_": odd})


def test_a_child_of_ours_may_publish_a_value_of_that_name(ask: Make) -> None:
    assert ask({"return": "_"}, {"_": '{"url": "x"}'}).raw["connection-_"] == '{"url": "x"}'


def test_a_secret_in_one_text_of_json_stays_one(ask: Make) -> None:
    published = {"_": Secret('{"url": "s3cret-url", "n": 1}')}
    recipe = ask({"serialisation": "json-in-xml", "return": "url"}, published)
    assert "s3cret" not in str(recipe.raw)
    assert recipe.run.tokens.reveal(recipe.raw["connection-url"]) == "s3cret-url"
    assert recipe.raw["connection-n"] == "1"


def test_a_secret_parameter_in_one_text_of_json_makes_it_secret(partition: Any) -> None:
    partition.parameters = {"password": Secret('p"w')}
    profile = """\
        [buildout]
        parts = child
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [child]
        recipe = allotment.recipes:request
        name = b
        release = shop
        serialisation = json-in-xml
        config-password = ${slap:configuration.password}
        """
    assert partition.run(profile).error == ""
    whole = partition.requests.requests[0].parameters["_"]
    assert isinstance(whole, Secret)
    assert json.loads(whole.reveal()) == {"password": 'p"w'}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confg-x": "1"}, "[part] confg-x: unknown option. Did you mean 'config-'?"),
        ({"parameters": "{"}, "[part] parameters: is not JSON"),
        ({"parameters": '{"a": NaN}'}, "[part] parameters: is not JSON: Out of range float values"),
        ({"parameters": r'{"a": "\ud800"}'}, "[part] parameters: is not JSON: "),
        ({"name": ""}, "[part] name: is empty. Write what the child is to be called."),
        ({"parameters": "[]"}, "[part] parameters: is not a JSON object."),
        ({"state": "strated"}, "[part] state: 'strated' is not one of its values. Did you mean 'started'?"),
        ({"shared": "maybe"}, "[part] shared: 'maybe' is neither true nor false."),
        ({"release": ""}, "[part] release: is asked for once, as release or as software-url. Write one of them."),
        ({"software-url": "a"}, "[part] release: is asked for once, as release or as software-url."),
        ({"serialisation": "xml"}, "[part] serialisation: 'xml' is not one of its values."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("recipe", [request.Recipe, request_optional.Recipe])
def test_what_is_wrong_is_named(ask: Make, options: dict[str, str], message: str, recipe: type) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        ask(options, recipe=recipe)


def test_two_that_ask_for_one_name_are_an_error(partition: Any) -> None:
    profile = "[buildout]\nparts = a b\n[a]\nrecipe = allotment.recipes:request\nname = c\nrelease = shop\n[b]\n<= a\nrecipe = allotment.recipes:request-optional\n"
    assert partition.run(profile).error == (
        "[b] requests the child 'c', which another section requests already. Give each child a name of its own."
    )
