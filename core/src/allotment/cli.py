# SPDX-License-Identifier: Apache-2.0
"""The ``allot`` command: a tree of subcommands made from the hook, each imported only when it is called."""

import logging
import sys
from collections.abc import Sequence

import click

from allotment import __version__
from allotment.errors import AllotmentError, nearest
from allotment.hookspecs import Command
from allotment.plugins import Plugins, load, plugins

# Words that only group others: what --help says of them.
GROUPS: dict[tuple[str, ...], str] = {
    ("cache",): "Parts that were built elsewhere: serve, give and list them.",
    ("farm",): "The test farm: run it, join it as a test node, look at it.",
    ("master",): "The master: requests, allocation, desired state.",
    ("hash",): "Checksums of the files beside profiles: are they right, make them right.",
    ("profile",): "What profiles say, and where it stands.",
    ("new",): "Begin a recipe, promise, component or release with files and a test that work.",
    ("node",): "The agent of one machine.",
    ("promise",): "Whether instances do what they should: how it stands and stood, and why.",
    ("release",): "Try a software release at your desk.",
    ("source",): "What releases are built from: fetch, pin, list and serve it.",
    ("service",): "The instances you have requested.",
    ("store",): "Built parts: what takes the space, what keeps it, whether it is sound; remove the rest.",
}


class LazyGroup(click.Group):
    """A group whose commands come from the hook and are imported when they are called."""

    def __init__(self, path: tuple[str, ...], registry: Plugins, help_text: str) -> None:
        super().__init__(name=path[-1] if path else "allot", help=help_text, no_args_is_help=True)
        self._path = path
        self._registry = registry
        commands: list[Command] = registry.items("allotment_commands")
        self._commands = [item for item in commands if item.path[: len(path)] == path]

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({item.path[len(self._path)] for item in self._commands})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        path = (*self._path, name)
        below = [item for item in self._commands if item.path[: len(path)] == path]
        if not below:
            return None
        if below[0].path == path:
            command: click.Command = load(below[0].target)
            return command
        return LazyGroup(path, self._registry, GROUPS.get(path, f"Commands of {name}."))

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command for one that there is not."""
        name, known = arguments[0], self.list_commands(context)
        if known and name not in known and not name.startswith("-"):
            context.fail(f"no command is called '{name}'. {nearest(name, known)}.")
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Show each command's one line from its registration: nothing is imported."""
        rows = [(name, self._line(name)) for name in self.list_commands(context)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _line(self, name: str) -> str:
        path = (*self._path, name)
        exact = [item for item in self._commands if item.path == path]
        return exact[0].help if exact else GROUPS.get(path, f"Commands of {name}.")


def build(registry: Plugins) -> click.Group:
    """Return the whole tree of commands."""
    root = LazyGroup((), registry, "Build, deploy and prove software on a fleet of machines.")
    return click.version_option(__version__, prog_name="allot")(root)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``allot`` and return its exit code: 0 done, 1 an error that is said, 2 wrong usage.

    Bugs keep their traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    return run(build(plugins()), "allot", arguments)


def run(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    """Run a program's commands and return the exit code, as :func:`main` does."""
    try:
        result = command.main(arguments, prog_name=name, standalone_mode=False)
    except AllotmentError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return 130
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
