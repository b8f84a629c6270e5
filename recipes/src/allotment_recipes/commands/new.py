# SPDX-License-Identifier: Apache-2.0
"""``allot new recipe|promise|component|release``: begin with something that works."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # commands import their work when they are called
    from allotment_recipes.new.home import Home

_distribution = click.option(
    "--distribution", default="", help="Name of the distribution to begin. [default: allotment-NAME]"
)


@click.command("recipe")
@click.argument("name")
@_distribution
def recipe_command(name: str, distribution: str) -> None:
    """Write a recipe NAME, its test and an example; in a folder without pyproject.toml, a distribution for it."""
    from allotment_recipes.new.recipe import new_recipe

    home, paths = new_recipe(Path.cwd(), name, distribution)
    _say(paths)
    _say_install(home)


@click.command("promise")
@click.argument("name")
@_distribution
def promise_command(name: str, distribution: str) -> None:
    """Write a promise type NAME and its test; in a folder without pyproject.toml, a distribution for it."""
    from allotment_recipes.new.promise import new_promise

    home, paths = new_promise(Path.cwd(), name, distribution)
    _say(paths)
    _say_install(home)


@click.command("component")
@click.argument("name")
@click.argument("url")
@click.option("--version", default="", help="Version of the source. [default: as its file name says]")
@click.option("--description", required=True, help="What it is, in a few words.")
@click.option("--licence", required=True, help="Its licence, as an SPDX expression.")
@click.option("--debian-source", default="", help="'PACKAGE VERSION SUITE', for this project's own components.")
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    default=Path("var/sources"),
    show_default=True,
    help="Source cache, as for 'allot build'.",
)
def component_command(
    name: str, url: str, version: str, description: str, licence: str, debian_source: str, sources: Path
) -> None:
    """Fetch the source at URL (or a file), pin it, and write components/NAME that builds it."""
    from allotment_recipes.new.component import Component, new_component

    component = Component(name, url, version, description, licence, debian_source)
    _say(new_component(Path.cwd(), component, sources))


@click.command("release")
@click.argument("name")
def release_command(name: str) -> None:
    """Write software/NAME: a release whose instances serve one page."""
    from allotment_recipes.new.release import new_release

    paths = new_release(Path.cwd(), name)
    _say(paths)
    click.echo(f"next: allot release test {_shown(paths[0].parent)}")


def _say(paths: Iterable[Path]) -> None:
    for path in paths:
        click.echo(f"wrote {_shown(path)}")


def _say_install(home: "Home") -> None:
    if home.licence:  # of this repository, whose tests have an environment of their own
        click.echo(f"next: pip install --no-deps --no-build-isolation -e {_shown(home.project.parent)}")
    else:
        click.echo(f"next: pip install -e {_shown(home.root)}; pytest {_shown(home.root)}")


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
