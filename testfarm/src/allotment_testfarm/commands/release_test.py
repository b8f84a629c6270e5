# SPDX-License-Identifier: Apache-2.0
"""``allot release test``: the farm's job at your desk, without a farm."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment.errors import AllotmentError
from allotment_testfarm.commands import desk

if TYPE_CHECKING:
    from allotment_testfarm.wire import JobResult


@click.command("test")
@click.argument("path", type=click.Path(path_type=Path))
@desk.folder_option
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=3600.0, help="Seconds for all of it.")
@click.option("--from-scratch", is_flag=True, help="Build every part anew, as the nightly job does.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; the log goes to stderr.")
@click.pass_context
def command(
    context: click.Context, path: Path, folder: Path, timeout: float, from_scratch: bool, as_json: bool
) -> None:
    """Build, deploy and test a release at your desk, as the farm would.

    PATH is a release's folder or its software.cfg. Files are taken as they are, committed or not. Exits with 1 unless
    the release passes.
    """
    profile = find_profile(path)
    began = time.monotonic()
    kind = "from-scratch" if from_scratch else "release"
    result = run(profile, folder.absolute(), kind, timeout, as_json)
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        click.echo(json.dumps(summary(profile, result, seconds), indent=2))
    else:
        desk.show(result, seconds)
    context.exit(0 if result.outcome == "passed" else 1)


def run(profile: Path, folder: Path, kind: str, timeout: float, log_to_stderr: bool) -> "JobResult":
    """Run a job of a kind on the files as they are and return its result."""
    from allotment.messages.job import Job

    root = find_root(profile)
    place = profile.relative_to(root).as_posix()
    job = Job(1, "desk", "working tree", profile.parent.name, place, kind=kind, timeout=timeout)
    return desk.run(job, folder, lambda _: root, log_to_stderr=log_to_stderr)


def find_profile(path: Path) -> Path:
    """Return the software.cfg that ``path`` means."""
    profile = (path / "software.cfg" if path.is_dir() else path).absolute()
    if not profile.is_file():
        raise AllotmentError(f"{path} has no software.cfg", "Give a release's folder, such as software/helloworld")
    return profile


def find_root(profile: Path) -> Path:
    """Return the repository that a profile is in: where ``.git`` is, else the folder that holds ``software``."""
    for folder in profile.parents:
        if (folder / ".git").exists():
            return folder
    return profile.parent.parent.parent


def summary(profile: Path, result: "JobResult", seconds: float) -> dict[str, object]:
    """Return what ``--json`` prints."""
    from allotment.codec import encode

    return {
        "format": 1,
        "release": profile.parent.name,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "seconds": seconds,
        "manifest": result.manifest.sha256 if result.manifest else None,
        "steps": encode(result.steps),
        "cases": encode(result.cases),
        "parts": encode(result.parts),
        "promises": encode(result.promises),
    }
