# SPDX-License-Identifier: Apache-2.0
"""``allot promise explain``: why a promise is broken, with the likely root first."""

import json
from pathlib import Path
from typing import Any

import click

from allotment.terminal import ago, plain, when
from allotment_node.commands.options import folder_option, tell_without_agent
from allotment_node.commands.promise_list import message
from allotment_node.explanation import describe, explain, likely_causes
from allotment_node.folder import NodeFolder
from allotment_node.survey import Survey, broken

_SIGNS = {True: "✓", False: "✗", None: "!"}


@click.command("explain")
@folder_option
@click.argument("promise", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, promise: str | None, as_json: bool) -> None:
    """Explain one PROMISE, a name, partition/name or instance/name; without one, the likely roots of all."""
    node = NodeFolder(folder)
    survey = Survey(node)
    if not as_json:
        tell_without_agent(node)
    if promise is None:
        _show_causes(survey, as_json)
        return
    told = explain(node, survey, survey.one(promise))
    if as_json:
        click.echo(json.dumps(told))
    else:
        _show(told)


def _show_causes(survey: Survey, as_json: bool) -> None:
    listed = broken(survey.promises())
    said = {item.full_name: message(item) for item in listed}
    causes = [{**told, "message": said[told["promise"]]} for told in map(describe, likely_causes(listed))]
    if as_json:
        click.echo(json.dumps({"causes": causes}))
    elif not causes:
        click.echo("No promise is broken.")
    for cause in [] if as_json else causes:
        click.echo(f"{cause['promise']} broke {ago(cause['since'])}: {cause['message']}".rstrip(": "))
        for item in cause["explains"]:
            click.echo(f"  explains {item}")


def _show(told: dict[str, Any]) -> None:
    name = f"{told['partition']}/{told['promise']}"
    click.echo(f"{name}: {told['status']} since {when(told['moment'])} UTC ({ago(told['moment'])})")
    if told["silence"]:
        click.echo(f"silenced by {told['silence']['author']}: {told['silence']['reason']}")
    root = told["root"]
    if root is not None and root["promise"] != name:
        click.echo(f"likely because {root['promise']} broke {ago(root['since'])}: look at that first")
    elif root is not None and root["explains"]:
        click.echo(f"it is the likely root of {', '.join(root['explains'])}")
    for title, lines in (
        ("measured (times are UTC), newest last", [_measured(item) for item in told["measurements"]]),
        ("changed before", [f"{when(item['time'])} {item['what']}" for item in told["changes"]]),
        *((f"{log} said", lines) for log, lines in told["logs"].items()),
    ):
        if lines:
            click.echo(f"\n{plain(title)}:")
            for line in lines:
                click.echo(f"  {plain(line)}")


def _measured(item: dict[str, Any]) -> str:
    metrics = "".join(f" {key}={metric['value']:g}{metric['unit']}" for key, metric in item["metrics"].items())
    first = item["message"].partition("\n")[0]
    return f"{when(item['time'])} {_SIGNS[item['is_passed']]}{metrics} {first}".rstrip()
