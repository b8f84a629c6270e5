# SPDX-License-Identifier: Apache-2.0
"""``allot farm reproduce``: a farm's job at your desk, without a farm."""

import json
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from allotment.terminal import table
from allotment_testfarm.commands import desk

if TYPE_CHECKING:
    from allotment_testfarm.db.reproductions import Reproduction
    from allotment_testfarm.reproduction import Difference
    from allotment_testfarm.wire import JobResult


@click.command("reproduce")
@click.argument("job_url")
@click.option(
    "--repository",
    default="",
    help="Path or URL of the git repository; without it the one you stand in if it has the commit, else the farm's.",
)
@desk.folder_option
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for all of it, if not the job's.")
@click.option("--keep", is_flag=True, help="Keep the job's scratch folder and say how to enter it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; the log goes to stderr.")
@click.pass_context
def command(
    context: click.Context,
    job_url: str,
    repository: str,
    folder: Path,
    timeout: float | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Run a farm's job at your desk: the same files, options and steps, and what else differs is shown.

    JOB_URL is the address of the job's page. What the job runs comes from that farm and its repository: name those
    that you trust. Exits with 0 when the job ends here as it did there, else with 1.
    """
    from dataclasses import replace

    from allotment_testfarm import reproduction

    folder = folder.absolute()
    found = reproduction.ask(job_url)
    files = reproduction.Files(found, repository, folder)
    changed = reproduction.differences(found.environment, reproduction.environment_here())
    _introduce(found, files.repository, changed, to_stderr=as_json)
    began = time.monotonic()
    job = found.job if timeout is None else replace(found.job, timeout=timeout)
    result = desk.run(job, folder, files.put, log_to_stderr=as_json, is_kept=keep)
    seconds = round(time.monotonic() - began, 2)
    cases = reproduction.differences(reproduction.outcomes(found.cases), reproduction.outcomes(result.cases))
    is_same = result.outcome == found.outcome
    if as_json:
        summary = _summary(found, result, cases, changed, seconds)
        click.echo(json.dumps({**summary, "url": job_url, "kept": str(folder / "job") if keep else None}, indent=2))
    else:
        desk.show(result, seconds)
        _compare(found, result, cases)
    if keep:
        _show_way_in(folder / "job", to_stderr=as_json)
    context.exit(0 if is_same else 1)


def _introduce(found: "Reproduction", repository: str, changed: "tuple[Difference, ...]", *, to_stderr: bool) -> None:
    """Say what will be run, and what of this desk may make it end in another way."""
    job = found.job
    lines = [
        f"job {job.id}: {job.release} ({job.kind}) at {job.revision[:10]} of {repository}",
        f"there: {_ended(found.outcome, found.reason)}, on test node {found.node}",
    ]
    if not found.environment:
        lines.append("what was installed there is not known")
    elif not changed:
        lines.append("what is installed here is the same")
    else:
        lines += [f"{len(changed)} inputs are not the same here:", *_listed(changed)]
    click.echo("\n".join([*lines, ""]), err=to_stderr)


def _listed(changed: "Iterable[Difference]") -> list[str]:
    return [f"  {item.name}: {item.there or 'missing'} there, {item.here or 'missing'} here" for item in changed]


def _compare(found: "Reproduction", result: "JobResult", cases: "tuple[Difference, ...]") -> None:
    """Say whether it is the same, and which test cases are not."""
    click.echo(f"there: {_ended(found.outcome, found.reason)}")
    click.echo(f"here:  {_ended(result.outcome, result.reason)}")
    if cases:
        head = ("TEST CASE", "THERE", "HERE")
        table([head, *((item.name, item.there or "missing", item.here or "missing") for item in cases)], "")
    click.echo("reproduced" if result.outcome == found.outcome else "not reproduced")


def _ended(outcome: str | None, reason: str) -> str:
    return f"{outcome}: {reason}" if reason else str(outcome)


def _summary(
    found: "Reproduction",
    result: "JobResult",
    cases: "tuple[Difference, ...]",
    changed: "tuple[Difference, ...]",
    seconds: float,
) -> dict[str, Any]:
    from allotment.codec import encode

    return {
        "format": 1,
        "job": found.job.id,
        "release": found.job.release,
        "revision": found.job.revision,
        "is_reproduced": result.outcome == found.outcome,
        "there": {"node": found.node, "outcome": found.outcome, "reason": found.reason},
        "here": {"outcome": result.outcome, "reason": result.reason, "seconds": seconds},
        "cases": encode(cases),
        "environment": encode(changed),
    }


def _show_way_in(folder: Path, *, to_stderr: bool) -> None:
    """Say how to look at what the job has left, with the variables that it had."""
    from allotment_testfarm.testnode.guarded import environment
    from allotment_testfarm.testnode.scratch import Scratch

    scratch = Scratch(folder)
    words = [f"{name}={value}" for name, value in environment(scratch).items() if name in ("PATH", "HOME", "TMPDIR")]
    line = f"cd {shlex.quote(str(scratch.work))} && env {shlex.join(words)} sh"
    click.echo(f"kept until the next run, in {folder}; enter it with\n  {line}", err=to_stderr)
