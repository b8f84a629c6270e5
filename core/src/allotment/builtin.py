# SPDX-License-Identifier: Apache-2.0
"""What core itself contributes: the ``allot plugins`` command."""

from allotment.hookspecs import Command, hookimpl


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    return (Command(("plugins",), "allotment.commands.plugins:command", "List what is loaded, and from where."),)
