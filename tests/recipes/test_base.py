# SPDX-License-Identifier: Apache-2.0
"""What every recipe has from its base: options and their errors."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from allotment.options import Arguments, Mode, OptionProblem
from allotment_recipes import GenericBaseRecipe
from allotment_recipes.option_error import OptionError

Make = Callable[..., Any]


class Colour(enum.StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Options:
    count: int = 0
    ratio: float = 0.0
    is_on: bool = False
    mode: Mode = Mode(0o644)
    path: Path = Path("x")
    command: Arguments | None = None
    colour: Colour = Colour.RED
    level: Literal["low", "high"] = "low"
    low: int = 1

    def __post_init__(self) -> None:
        if self.low > 5:
            raise OptionProblem("low", "is above 5", "Write 5 or less")


class Recipe(GenericBaseRecipe[Options]):
    """Has an option of each type."""


@pytest.mark.parametrize(
    "raw",
    [
        {"count": "many"},
        {"ratio": "nan"},
        {"is-on": "maybe"},
        {"mode": "9"},
        {"path": ""},
        {"command": "a 'b"},
        {"command": " "},
        {"colour": "rad"},
        {"level": "hihg"},
        {"levle": "high"},
        {"low": "6"},
    ],
    ids=str,
)
def test_each_error_has_section_option_problem_and_fix(make_recipe: Make, raw: dict[str, str]) -> None:
    (option,) = raw
    with pytest.raises(OptionError) as caught:
        make_recipe(Recipe, raw)
    assert caught.value.what.startswith(f"[part] {option}: ")
    assert len(caught.value.what) > len(f"[part] {option}: ") + 5
    assert caught.value.fix
    assert (caught.value.section, caught.value.option) == ("part", option)


def test_a_recipe_that_extends_another_keeps_or_replaces_its_options(make_recipe: Make) -> None:
    @dataclass(frozen=True)
    class Other:
        name: str

    class Same(Recipe):
        pass

    class Replaced(Recipe):
        options_class = Other

    assert make_recipe(Same, {"count": "3"}).options.count == 3
    assert make_recipe(Replaced, {"name": "x"}).options.name == "x"
