# SPDX-License-Identifier: Apache-2.0
"""What the node contributes: its commands and the supervisor that services run under."""

from allotment.hookspecs import Command, SupervisorType, hookimpl


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    return (
        Command(
            ("node", "register"), "allotment_node.commands.register:command", "Make this machine known to a master."
        ),
        Command(("node", "run"), "allotment_node.commands.run:command", "Run the agent of this machine."),
        Command(("node", "stop"), "allotment_node.commands.stop:command", "End the agent and all services."),
        Command(("node", "software"), "allotment_node.commands.software:command", "Install what is supplied, once."),
        Command(("node", "instance"), "allotment_node.commands.instance:command", "Process every partition once."),
        Command(("node", "promise"), "allotment_node.commands.promise_run:command", "Run every promise once."),
        Command(("node", "status"), "allotment_node.commands.status:command", "Show what is on this machine."),
        Command(
            ("promise", "explain"), "allotment_node.commands.promise_explain:command", "Say why promises are broken."
        ),
        Command(("promise", "feeds"), "allotment_node.commands.promise_feeds:command", "List the feeds of nodes."),
        Command(("promise", "history"), "allotment_node.commands.promise_history:command", "Show a promise's past."),
        Command(("promise", "list"), "allotment_node.commands.promise_list:command", "List promises as they stand."),
        Command(("promise", "run"), "allotment_node.commands.promise_run:command", "Run promises now."),
        Command(
            ("promise", "silence"), "allotment_node.commands.promise_silence:command", "Take the alarm from promises."
        ),
        Command(("promise", "watch"), "allotment_node.commands.promise_watch:command", "Show promises as they change."),
    )


@hookimpl
def allotment_supervisors() -> tuple[SupervisorType, ...]:
    return (SupervisorType("supervisord", "allotment_node.supervisord:Supervisord"),)
