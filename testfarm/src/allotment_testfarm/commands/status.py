# SPDX-License-Identifier: Apache-2.0
"""``allot farm status``: what is red and since when, what runs, what waits and why, when the next night's jobs come."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from allotment.terminal import ago, duration, table
from allotment_testfarm.commands.farm_options import connect, farm_options

if TYPE_CHECKING:
    from allotment_testfarm.farm_client import FarmClient


@click.command("status")
@farm_options
@click.option("--check", is_flag=True, help="Exit with 1 when a release is red.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, url: str | None, folder: Path | None, check: bool, as_json: bool) -> None:
    """Show what is red and since when, what runs, what waits and why, and when the next nightly is."""
    with connect(url, folder) as farm:
        projects = [_project(farm, item) for item in farm.get("projects")["items"]]
        queue = farm.get("queue")
    if as_json:
        click.echo(json.dumps({"format": 1, "url": farm.url, "projects": projects, "queue": queue}, indent=2))
    else:
        for project in projects:
            _show_project(project, farm.url)
        _show_queue(queue)
    context.exit(1 if check and any(_of_colour(project, "red") for project in projects) else 0)


def _project(farm: "FarmClient", project: dict[str, Any]) -> dict[str, Any]:
    name = project["name"]
    newest = farm.get("revisions", project=name, limit=1)["items"]
    releases = farm.get("releases", project=name)["items"]
    return {**project, "newest": newest[0] if newest else None, "releases": releases}


def _of_colour(project: dict[str, Any], colour: str) -> list[dict[str, Any]]:
    return [item for item in project["releases"] if item["verdict"] and item["verdict"]["colour"] == colour]


def _show_project(project: dict[str, Any], url: str) -> None:
    from allotment_testfarm.web.look import iso

    now = time.time()
    newest = project["newest"]
    click.echo(f"{project['name']}: {project['repository']}, polled {ago(project['polled'], now)}")
    if project["problem"]:
        click.echo(f"  {project['problem']}")
    if newest:
        seen = ago(newest["seen"], now)
        click.echo(f"  newest revision {newest['commit'][:10]} by {newest['author']}, {seen}: {newest['subject']}")
    reds, greens = (_of_colour(project, colour) for colour in ("red", "green"))
    rest = len(project["releases"]) - len(reds) - len(greens)
    click.echo(f"  releases: {len(reds)} red, {len(greens)} green, {rest} without a verdict")
    if project["nightly_next"]:
        click.echo(f"  next nightly at {iso(project['nightly_next'])}")
    if reds:
        rows: list[tuple[str, ...]] = [("RED", "VERDICT", "SINCE", "SEEN", "JOB", "WHY")]
        rows += [_red(item, url, ago(item["since"], now)) for item in reds]
        table(rows, "")


def _red(item: dict[str, Any], url: str, seen: str) -> tuple[str, ...]:
    verdict = item["verdict"]
    why = f"{url}/jobs/{item['job']}", verdict["detail"]
    return _name(item), verdict["name"], verdict["since"][:10], seen, *why


def _show_queue(queue: dict[str, Any]) -> None:
    """Print what runs and what waits; of the jobs far behind, only how many they are."""
    now = time.time()
    running = [("RUNS", "JOB", "TEST NODE", "STEP", "FOR")]
    for item in queue["running"]:
        seconds = duration(now - item["started"])
        running.append((_name(item["job"]), str(item["job"]["id"]), item["node"], item["step"], seconds))
    table(running, "No job runs.")
    told = [item for item in queue["waiting"] if item["why"]]
    waiting = [("WAITS", "JOB", "WHY")]
    waiting += [(_name(item["job"]), str(item["job"]["id"]), item["why"]["text"]) for item in told]
    table(waiting, "No job waits.")
    if queue["waits"] > len(told):
        click.echo(f"and {queue['waits'] - len(told)} more")


def _name(item: dict[str, Any]) -> str:
    from allotment_testfarm.web import names

    key = (item["release"], item["kind"], item["platform"])
    return names.whole([key])[key]
