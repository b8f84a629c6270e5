# SPDX-License-Identifier: Apache-2.0
"""What the test farm contributes."""

from allotment.hookspecs import Command, JobKind, hookimpl


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    return (
        Command(("farm", "node"), "allotment_testfarm.commands.node:command", "Take part in a test farm."),
        Command(
            ("release", "test"),
            "allotment_testfarm.commands.release_test:command",
            "Build, deploy and test a release at your desk, as the farm would.",
        ),
    )


@hookimpl
def allotment_job_kinds() -> tuple[JobKind, ...]:
    return (
        JobKind(
            "release",
            "allotment_testfarm.testnode.release_job:run_release",
            "Build a software release, deploy it on an embedded master and node, and run its tests.",
        ),
        JobKind(
            "command",
            "allotment_testfarm.testnode.command_job:run_command",
            "Run one command on a revision's files.",
        ),
    )
