# SPDX-License-Identifier: Apache-2.0
"""What the master contributes: its commands, and the constraints that allocation understands."""

from allotment.hookspecs import AllocationTerm, Command, hookimpl


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    package = "allotment_master.commands"
    return (
        Command(("master", "run"), f"{package}.run:command", "Run a master."),
        Command(("master", "token"), f"{package}.token:command", "Make a token."),
        Command(("master", "nodes"), f"{package}.nodes:command", "List the nodes."),
        Command(("master", "events"), f"{package}.events:command", "Show what happened, and go on showing it."),
        Command(("supply",), f"{package}.supply:command", "Offer a release on a node, or take it away."),
        Command(("request",), f"{package}.request:command", "Request an instance of a release."),
        Command(("service", "list"), f"{package}.service_list:command", "List instances."),
        Command(("service", "info"), f"{package}.service_info:command", "Show an instance."),
        Command(("service", "start"), f"{package}.service_state:start", "Start an instance."),
        Command(("service", "stop"), f"{package}.service_state:stop", "Stop an instance; its data stays."),
        Command(("service", "destroy"), f"{package}.service_state:destroy", "Destroy an instance and its data."),
    )


@hookimpl
def allotment_allocation_terms() -> tuple[AllocationTerm, ...]:
    return (
        AllocationTerm("node", "name", "The instance is on the node of this name."),
        AllocationTerm("label:*", "label:*", "The instance is on a node whose label has this value."),
    )
