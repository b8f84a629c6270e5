# SPDX-License-Identifier: Apache-2.0
"""What the test farm contributes."""

from allotment.hookspecs import Command, JobKind, VerdictRule, hookimpl


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    return (
        Command(("demo",), "allotment_testfarm.commands.demo:command", "Take a commit the whole way, on this machine."),
        Command(
            ("nightly",),
            "allotment_testfarm.commands.nightly:command",
            "Build and test everything from an empty store, on this machine.",
        ),
        Command(("farm", "run"), "allotment_testfarm.commands.run:command", "Run a farm: its engine and its pages."),
        Command(("farm", "status"), "allotment_testfarm.commands.status:command", "Show what is red, runs and waits."),
        Command(("farm", "nodes"), "allotment_testfarm.commands.nodes:command", "List the test nodes."),
        Command(("farm", "cancel"), "allotment_testfarm.commands.cancel:command", "Cancel a job."),
        Command(
            ("farm", "reproduce"), "allotment_testfarm.commands.reproduce:command", "Run a farm's job at your desk."
        ),
        Command(("farm", "retry"), "allotment_testfarm.commands.retry:command", "Run a job again."),
        Command(
            ("farm", "prune"), "allotment_testfarm.commands.prune:command", "Remove logs and more that no rule keeps."
        ),
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
            "from-scratch",
            "allotment_testfarm.testnode.release_job:run_from_scratch",
            "Do what release does with an empty store, so that every part is built.",
        ),
        JobKind(
            "command",
            "allotment_testfarm.testnode.command_job:run_command",
            "Run one command on a revision's files.",
        ),
    )


@hookimpl
def allotment_verdict_rules() -> tuple[VerdictRule, ...]:
    return (
        VerdictRule("passed", 10, "allotment_testfarm.verdicts:passed", "Green: passed, or fixed after red."),
        VerdictRule("failed", 20, "allotment_testfarm.verdicts:failed", "Red: new-failure, or still-failing."),
        VerdictRule("timed-out", 30, "allotment_testfarm.verdicts:timed_out", "Red: it did not end in its time."),
        VerdictRule("inconclusive", 1000, "allotment_testfarm.verdicts:inconclusive", "Grey: it says nothing."),
    )
