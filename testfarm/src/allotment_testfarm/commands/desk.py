# SPDX-License-Identifier: Apache-2.0
"""A job at a desk: under the guard as on a test node, its log on the terminal, without a farm."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from allotment.messages.job import Job
    from allotment_testfarm.testnode.scratch import Scratch
    from allotment_testfarm.wire import JobResult

_MARKS = {"passed": "ok", "skipped": "skip"}

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("var/release-test"),
    show_default=True,
    help="Where downloads are kept and the work is done.",
)


def run(
    job: "Job", folder: Path, files: "Callable[[Scratch], Path]", *, log_to_stderr: bool, is_kept: bool = False
) -> "JobResult":
    """Run a job and return its result; everything it started has ended. ``files`` returns where its revision is.

    Its scratch folder is ``<folder>/job``; where that ``is_kept``, the next run removes it.
    """
    from allotment.program import FolderLock
    from allotment_testfarm.testnode import scratch
    from allotment_testfarm.testnode.guarded import GuardedJob, most_memory

    stream = (sys.stderr if log_to_stderr else sys.stdout).buffer

    def echo(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves nothing either
    with FolderLock(folder, "lock"):
        work = scratch.create(folder / "job")
        try:
            guarded = GuardedJob(job, files(work), work, folder / "sources", most_memory(), echo)
            guarded.start()
            try:
                return guarded.result(guarded.wait())
            except KeyboardInterrupt:
                guarded.kill()
                guarded.wait()  # until nothing is left
                raise
        finally:
            if work.log.exists():
                shutil.copyfile(work.log, folder / "log")
            if not is_kept:
                scratch.remove(work.folder)


def show(result: "JobResult", seconds: float) -> None:
    """Print what was done and found, for people."""
    click.echo("")
    for step in result.steps:
        click.echo(f"{step.outcome or 'running':<15} {(step.ended or step.started) - step.started:7.1f} s  {step.name}")
    for case in result.cases:
        mark = _MARKS.get(case.outcome, case.outcome.upper())
        click.echo(f"{mark:<15} {case.seconds:7.2f} s  {case.suite} {case.name}")
    click.echo(f"{result.outcome} after {seconds:g} s{f': {result.reason}' if result.reason else ''}")
