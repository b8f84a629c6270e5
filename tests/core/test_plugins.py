# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from allotment import hookspecs
from allotment.errors import PluginError
from allotment.hookspecs import PLANNED, AllocationTerm, Command, PromiseType, RecipeType
from allotment.plugins import BUILTIN, Plugins, load

Point = Callable[..., Any]


def _command(*words: str) -> Command:
    return Command(words, "m:c", "help")


def _load(*points: Any, builtin: tuple[str, ...] = ()) -> Plugins:
    return Plugins(builtin, points)


def _reasons(plugins: Plugins) -> list[tuple[str, str, str]]:
    return [(item.origin.plugin, item.origin.distribution, item.reason) for item in plugins.broken]


def test_items_come_in_calling_order_with_their_origin(entry_point: Point) -> None:
    found = _load(
        entry_point("zeta", "z", allotment_promise_types=[PromiseType("z", "m:z")]),
        entry_point("alpha", "a", allotment_promise_types=[PromiseType("b", "m:b"), PromiseType("a", "m:a")]),
        builtin=("allotment.builtin", "allotment_promises.plugin"),
    ).contributions("allotment_promise_types")
    assert [(item.origin.distribution, item.item.name) for item in found][-3:] == [("a", "b"), ("a", "a"), ("z", "z")]
    assert found[0].origin.distribution == "allotment.promises"
    assert found[0].origin.plugin == "allotment_promises.plugin"


def test_builtin_that_is_not_installed_is_passed_over() -> None:
    assert _load(builtin=("allotment.builtin", "allotment_of_the_future.plugin")).broken == []


def test_builtins_of_this_repository_all_load() -> None:
    assert Plugins(BUILTIN, ()).broken == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImportError("no x"), "ImportError: no x"),
        (SyntaxError("bad"), "SyntaxError: bad"),
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_plugin_that_fails_to_load_is_reported_and_others_go_on(
    entry_point: Point, error: BaseException, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    plugins = _load(
        entry_point("bad", "broken-one", load=fail), entry_point("good", allotment_commands=[_command("x")])
    )
    assert _reasons(plugins) == [("bad", "broken-one", reason)]
    assert str(plugins.broken[0]) == f"plugin bad of broken-one 1.0 is broken: {reason}"
    assert caplog.messages == [str(plugins.broken[0])]
    assert plugins.items("allotment_commands") == [_command("x")]


def test_plugin_that_raises_in_a_hook_loses_all_its_items(entry_point: Point) -> None:
    def fail() -> list[Command]:
        raise KeyError("x")

    bad = entry_point("bad", allotment_commands=fail, allotment_promise_types=[PromiseType("p", "m:p")])
    plugins = _load(bad, entry_point("good", "fine", allotment_commands=[_command("x")]))
    assert plugins.items("allotment_commands") == [_command("x")]
    assert plugins.items("allotment_promise_types") == []
    assert plugins.items("allotment_commands") == [_command("x")]
    assert _reasons(plugins) == [("bad", "other", "KeyError: 'x'")]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (None, "TypeError: 'NoneType' object is not iterable"),
        (["farm run"], "TypeError: 'farm run' is not a Command"),
        ([PromiseType("a", "b")], "TypeError: PromiseType(name='a', target='b') is not a Command"),
    ],
)
def test_hook_that_returns_something_else_breaks_its_plugin(entry_point: Point, items: Any, reason: str) -> None:
    plugins = _load(entry_point("bad", allotment_commands=items))
    assert plugins.items("allotment_commands") == []
    assert _reasons(plugins) == [("bad", "other", reason)]


def test_unknown_hook_is_reported(entry_point: Point) -> None:
    plugins = _load(entry_point("bad", allotment_comands=[_command("x")]))
    ((name, _, reason),) = _reasons(plugins)
    assert name == "bad"
    assert "unknown hook 'allotment_comands'" in reason


def test_hook_with_unknown_argument_is_reported(entry_point: Point) -> None:
    plugins = _load(entry_point("bad", allotment_commands=lambda version: []))
    ((_, _, reason),) = _reasons(plugins)
    assert reason.startswith("PluginValidationError: ")


def test_first_of_two_items_of_one_name_is_kept_and_the_other_reported(entry_point: Point) -> None:
    plugins = _load(
        entry_point("a", "first", allotment_commands=[_command("x")]),
        entry_point("b", "second", allotment_commands=[_command("y"), _command("x")]),
    )
    for _ in range(2):
        found = plugins.contributions("allotment_commands")
        assert [(item.origin.distribution, item.item.path) for item in found] == [("first", ("x",)), ("second", ("y",))]
    assert _reasons(plugins) == [("b", "second", "its Command 'x' is taken by plugin a of first")]


def test_command_can_not_stand_where_a_group_is(entry_point: Point) -> None:
    plugins = _load(
        entry_point("a", "first", allotment_commands=[_command("farm", "run")]),
        entry_point("b", "second", allotment_commands=[_command("farm"), _command("farm", "node")]),
    )
    assert [item.path for item in plugins.items("allotment_commands")] == [("farm", "run"), ("farm", "node")]
    assert _reasons(plugins) == [("b", "second", "its Command 'farm' is taken by plugin a of first")]


def test_recipes_of_one_name_in_two_distributions_are_two(entry_point: Point) -> None:
    recipes = [RecipeType("wrapper", "m:r", "one"), RecipeType("wrapper", "m:r", "two")]
    plugins = _load(entry_point("a", allotment_recipe_types=recipes))
    assert plugins.items("allotment_recipe_types") == recipes
    assert plugins.broken == []


def test_allocation_terms_are_known_by_their_key(entry_point: Point) -> None:
    terms = [AllocationTerm("node", "name", "x"), AllocationTerm("node", "label:node", "y")]
    plugins = _load(entry_point("a", allotment_allocation_terms=terms))
    assert plugins.items("allotment_allocation_terms") == terms[:1]


def test_entry_points_of_one_name_in_two_distributions_both_load(entry_point: Point) -> None:
    plugins = _load(
        entry_point("plugin", "one", allotment_commands=[_command("x")]),
        entry_point("plugin", "two", allotment_commands=[_command("y")]),
    )
    assert plugins.broken == []
    assert len(plugins.items("allotment_commands")) == 2


def test_distribution_found_twice_counts_once(entry_point: Point) -> None:
    plugins = _load(
        entry_point("plugin", "one", allotment_commands=[_command("x")]),
        entry_point("plugin", "one", allotment_commands=[_command("y")]),
    )
    assert plugins.items("allotment_commands") == [_command("x")]
    ((_, _, reason),) = _reasons(plugins)
    assert "installed twice" in reason


def test_named_item_is_found_and_an_unknown_one_suggests_the_nearest(entry_point: Point) -> None:
    plugins = _load(entry_point("a", allotment_promise_types=[PromiseType("check_url", "m:p")]))
    assert plugins.named("allotment_promise_types", "check_url", "promise type") == PromiseType("check_url", "m:p")
    with pytest.raises(PluginError) as caught:
        plugins.named("allotment_promise_types", "check_ulr", "promise type")
    assert str(caught.value) == "unknown promise type 'check_ulr'. Did you mean 'check_url'? Valid: check_url."


def test_target_is_imported_by_its_name() -> None:
    assert load("allotment.plugins:load") is load


@pytest.mark.parametrize("target", ["no.such.module:thing", "allotment.plugins:thing"])
def test_target_that_is_not_there_is_an_error(target: str) -> None:
    with pytest.raises(PluginError) as caught:
        load(target)
    assert caught.value.what.startswith(f"{target} can't be imported: ")
    assert caught.value.fix == "Install what it needs, or correct the name"


def test_every_hook_says_when_it_is_called() -> None:
    hooks = [item for name, item in vars(hookspecs).items() if name.startswith("allotment_")]
    assert len(hooks) >= 8
    for hook in hooks:
        assert "Called" in hook.__doc__, hook.__name__
    assert not {item.name for item in PLANNED} & {hook.__name__ for hook in hooks}
