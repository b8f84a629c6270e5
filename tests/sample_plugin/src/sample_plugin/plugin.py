# SPDX-License-Identifier: Apache-2.0
"""What this distribution contributes. Nothing is imported here but the hooks: ``allot`` loads this at every start."""

from allotment.hookspecs import Command, PromiseType, RecipeType, hookimpl


@hookimpl
def allotment_recipe_types() -> tuple[RecipeType, ...]:
    return (RecipeType("greeting", "sample_plugin.greeting:Recipe", distribution="sample-plugin"),)


@hookimpl
def allotment_promise_types() -> tuple[PromiseType, ...]:
    return (PromiseType("check_greeting", "sample_plugin.check_greeting:CheckGreeting"),)


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    return (Command(("sample", "greet"), "sample_plugin.commands.greet:command", "Greet somebody."),)
