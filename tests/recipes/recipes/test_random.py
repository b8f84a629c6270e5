# SPDX-License-Identifier: Apache-2.0
"""The four recipes that choose a value once: what is common to them, and what each chooses."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.recipes import random_integer, random_mac, random_time, random_uuid

Make = Callable[..., Any]
RECIPES = {
    "random.integer": (random_integer.Recipe, "value"),
    "random.mac": (random_mac.Recipe, "mac-address"),
    "random.time": (random_time.Recipe, "time"),
    "random.uuid": (random_uuid.Recipe, "uuid"),
}
EVERY = pytest.mark.parametrize("name", RECIPES)
PROFILE = """\
    [buildout]
    parts = publish
    [random]
    recipe = allotment.recipes:{name}
    {more}
    [publish]
    recipe = allotment.recipes:publish
    value = ${{random:{result}}}
    """


def process(partition: Any, name: str, more: str = "") -> str:
    result = partition.run(PROFILE.format(name=name, result=RECIPES[name][1], more=more))
    assert result.error == ""
    return str(partition.published.values["value"])


@EVERY
def test_a_value_is_chosen_once_and_goes_with_its_section(partition: Any, name: str) -> None:
    first = process(partition, name)
    assert process(partition, name) == first
    kept = partition.folder / ".allotment/parts/random"
    assert kept.read_text() == f"{first}\n"
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not kept.exists()


@EVERY
def test_a_value_in_a_file_outlives_its_section(partition: Any, name: str) -> None:
    first = process(partition, name, "storage-path = etc/value")
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert partition.text("etc/value") == f"{first}\n"
    assert process(partition, name, "storage-path = etc/value") == first


@EVERY
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"nonsense\n", b"07\n", b"1_0\n"])
def test_a_damaged_file_is_made_anew(make_recipe: Make, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "kept").write_bytes(data)
    recipe = make_recipe(RECIPES[name][0], {"storage-path": "kept"})
    recipe.install()
    assert (tmp_path / "kept").read_text() == f"{recipe.value}\n"
    assert recipe.problem(recipe.value) == ""


@EVERY
def test_a_value_that_is_given_is_kept(make_recipe: Make, name: str) -> None:
    kind, result = RECIPES[name]
    value = make_recipe(kind, {"storage-path": "one"}).value
    make_recipe(kind, {"storage-path": "two", result: value}).install()
    assert make_recipe(kind, {"storage-path": "two"}).raw[result] == value


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random.integer", {"value": "101"}, "[part] value: 101 is not from 0 to 100. Correct it, or leave it out."),
        ("random.integer", {"value": "one"}, "[part] value: 'one' is not a whole number."),
        ("random.integer", {"value": "1_0"}, "[part] value: '1_0' is not a whole number."),
        ("random.integer", {"value": "07"}, "[part] value: '07' is not a whole number."),
        ("random.integer", {"value": "-0"}, "[part] value: '-0' is not a whole number."),
        ("random.integer", {"value": "９"}, "[part] value: '９' is not a whole number."),  # noqa: RUF001
        ("random.integer", {"minimum": "5", "maximum": "4"}, "[part] maximum: 4 is less than minimum, 5."),
        ("random.integer", {"minimum": "low"}, "[part] minimum: 'low' is not a whole number."),
        ("random.time", {"time": "24:00"}, "[part] time: '24:00' is not a time like 03:07."),
        ("random.mac", {"mac-address": "02:00"}, "[part] mac-address: '02:00' is not an address like "),
        ("random.uuid", {"uuid": "1"}, "[part] uuid: '1' is not a UUID."),
        ("random.uuid", {"uid": "1"}, "[part] uid: unknown option. Did you mean 'uuid'?"),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(RECIPES[name][0], options)


def test_an_integer_is_within_its_range_and_chosen_anew_out_of_it(make_recipe: Make) -> None:
    options = {"storage-path": "kept", "minimum": "-3", "maximum": "-3"}
    recipe = make_recipe(random_integer.Recipe, options)
    recipe.install()
    assert recipe.raw["value"] == "-3"
    assert make_recipe(random_integer.Recipe, {**options, "minimum": "7", "maximum": "7"}).raw["value"] == "7"
    every = {make_recipe(random_integer.Recipe, {"maximum": "1"}).raw["value"] for _ in range(64)}
    assert every == {"0", "1"}


def test_a_mac_address_is_local_and_of_one_station(make_recipe: Make) -> None:
    for _ in range(64):
        value = make_recipe(random_mac.Recipe, {}).raw["mac-address"]
        assert int(value[:2], 16) & 0b11 == 0b10


def test_a_uuid_is_a_random_one(make_recipe: Make) -> None:
    assert uuid.UUID(make_recipe(random_uuid.Recipe, {}).raw["uuid"]).version == 4


def test_publish_early_gives_a_time_back(partition: Any) -> None:
    profile = PROFILE.replace("${{random:{result}}}", "${{early:hour}}") + (
        "[early]\n    recipe = allotment.recipes:publish-early\n    -init = hour random:time\n"
    )
    texts = [profile.format(name="random.time", result="", more=f"storage-path = {path}") for path in ("a", "b")]
    values = []
    for text in texts:
        assert partition.run(text).error == ""
        values.append(partition.published.values["hour"])
    assert values[0] == values[1]


@EVERY
@given(text=st.text())
def test_any_text_is_a_value_or_none(name: str, text: str) -> None:
    recipe = object.__new__(RECIPES[name][0])
    recipe.options = random_integer.Options()
    assert isinstance(recipe.problem(text), str)
