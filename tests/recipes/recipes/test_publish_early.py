# SPDX-License-Identifier: Apache-2.0
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.recipes.publish_early import Recipe
from allotment_recipes.testing import given_instance

PROFILE = """\
    [buildout]
    parts = {parts}
    [early]
    recipe = allotment.recipes:publish-early
    -init =

      second plain:value
    plain = constant
    [plain]
    value = {value}
    [child]
    recipe = allotment.recipes:request
    name = b
    release = shop
    config-key = ${{early:second}}
    [publish]
    recipe = allotment.recipes:publish
    -extends = early
    url = http://a/
    """


def process(partition: Any, value: str = "one", parts: str = "child publish") -> dict[str, Any]:
    result = partition.run(PROFILE.format(value=value, parts=parts))
    assert result.error == ""
    return dict(partition.published.values)


def test_the_first_value_is_published_and_kept(partition: Any) -> None:
    everything = {"second": "one", "plain": "constant", "url": "http://a/"}
    assert process(partition) == everything
    assert process(partition, "two") == everything
    assert dict(partition.requests.requests[0].parameters) == {"key": "one"}
    (partition.folder / ".allotment/published.json").unlink()
    assert process(partition, "two") == {**everything, "second": "two"}


def test_values_are_published_while_the_rest_waits(partition: Any) -> None:
    waiting = PROFILE.format(value="one", parts="child publish")
    waiting = waiting.replace("release = shop", "release = shop\n    return = url").replace(
        "url = http://a/", "url = ${child:connection-url}"
    )
    assert partition.run(waiting).outcome == "waiting"
    assert dict(partition.published.values) == {"second": "one", "plain": "constant"}
    assert partition.run(waiting.replace("value = one", "value = two")).outcome == "waiting"
    assert partition.published.values["second"] == "one"


def test_an_option_of_the_section_is_used_instead(partition: Any) -> None:
    process(partition)
    profile = PROFILE.format(value="one", parts="publish").replace("plain = constant", "second = forced")
    assert partition.run(profile).error == ""
    assert dict(partition.published.values) == {"second": "forced", "url": "http://a/"}


def test_a_value_that_looks_like_a_reference_never_becomes_one(partition: Any) -> None:
    partition.parameters = {"greeting": "${hidden:option}"}
    more = "[hidden]\noption = s3cret\n[slap]\nrecipe = allotment.recipes:slapconfiguration\n"
    profile = textwrap.dedent(PROFILE.format(value="${slap:configuration.greeting}", parts="publish")) + more
    for _ in range(2):
        assert partition.run(profile).error == ""
        assert partition.published.values["second"] == "${hidden:option}"


PASSWORD = """\
    [buildout]
    parts = publish
    [password]
    recipe = allotment.recipes:password
    {file}
    [early]
    recipe = allotment.recipes:publish-early
    -init = key password:passwd
    [publish]
    recipe = allotment.recipes:publish
    -extends = early
    """


def test_a_password_outlives_the_file_that_it_was_kept_in(partition: Any) -> None:
    assert partition.run(PASSWORD.format(file="storage-path = etc/one")).error == ""
    first = partition.published.values["key"]
    assert isinstance(first, Secret)
    assert partition.run(PASSWORD.format(file="storage-path = etc/two")).error == ""
    assert partition.published.values["key"] == first
    assert partition.text("etc/two").strip() == first.reveal()
    assert first.reveal() not in partition.text(".installed.cfg")


def test_what_is_no_text_is_given_back_as_it_was(partition: Any) -> None:
    for _ in range(2):
        assert process(partition, "!py!{'x': [1, None]}")["second"] == {"x": [1, None]}


def test_a_value_that_can_not_be_used_any_more_is_told_with_its_name(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = early
        [number]
        recipe = allotment.recipes:random.integer
        minimum = 7
        maximum = 7
        [early]
        recipe = allotment.recipes:publish-early
        -init = number number:value
        """
    assert partition.run(profile).error == ""
    assert partition.run(profile.replace("7", "8")).error == (
        "[number] value: 7 is not from 8 to 8; it was published earlier, as 'number'. "
        "Allow it, or choose another name in [early] -init to have another one made."
    )
    assert partition.run(profile.replace("minimum = 7", "minimum = x")).error.startswith("[number] minimum: ")
    assert partition.run(profile.replace("7", "8").replace("= number n", "= count n")).error == ""
    assert dict(partition.published.values) == {"count": "8"}


def test_without_the_section_nothing_is_kept_published(partition: Any) -> None:
    process(partition)
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert dict(partition.published.values) == {}


def test_a_section_that_was_read_too_early_is_named(partition: Any) -> None:
    profile = PROFILE.format(value="one", parts="first child publish")
    profile += "[first]\n    recipe = allotment.recipes:template.jinja2\n    inline = ${plain:value}\n    output = a\n"
    assert partition.run(profile).error == ""
    assert partition.run(profile).error == ""
    assert partition.run(profile.replace("value = one", "value = two")).error == (
        "[early] -init: [plain] was read before its earlier value could be given back. "
        "Refer to ${early:second} in place of ${plain:value}."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"-init": "a"}, "[part] -init: 'a' is not 'name section:option'. Write it like: key password:passwd."),
        ({"-init": "a b"}, "[part] -init: 'a b' is not 'name section:option'."),
        ({"-init": "a b:c d"}, "[part] -init: 'a b:c d' is not 'name section:option'."),
        ({"-init": "a other:vlaue"}, "[part] -init: [other] has no option 'vlaue'. Did you mean 'value'?"),
        ({"-int": "a b:c"}, "[part] -int: unknown option. Did you mean '-init'?"),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Callable[..., Any], options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(Recipe, options, given_instance(), other={"value": "1"})


def test_a_missing_section_is_named(partition: Any) -> None:
    profile = PROFILE.format(value="one", parts="publish").replace("[plain]", "[x]")
    assert partition.run(profile).error.startswith("[early] refers to the section 'plain', which does not exist.")


def test_two_sections_that_publish_one_name_are_an_error(partition: Any) -> None:
    profile = PROFILE.format(value="one", parts="publish")
    error = partition.run(profile.replace("url = http://a/", "plain = other\n    -publish = plain")).error
    assert error == "[publish] plain: another section publishes another value. Publish each value once."
    error = partition.run(profile.replace("parts =", "parts = again") + "[again]\n    <= early\n    plain = x\n").error
    assert error == "[early] plain: another section publishes another value. Publish each value once."


@given(st.text())
def test_a_line_is_read_or_refused(line: str) -> None:
    recipe = object.__new__(Recipe)
    try:
        name, (section, option) = recipe._parsed(line)
    except OptionProblem as problem:
        assert problem.option == "-init"
    else:
        assert line.split() == [name, f"{section}:{option}"]
