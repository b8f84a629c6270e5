# SPDX-License-Identifier: Apache-2.0
"""``allot plugins``: what is loaded, from where, with each recipe's and promise's options."""

import dataclasses
import json
from typing import Any

import click

from allotment.errors import PluginError
from allotment.options import describe_options, options_of, schema_of_options
from allotment.plugins import Contribution, load, plugins

# hook -> the word for one of its items
KINDS = {
    "allotment_recipe_types": "recipe",
    "allotment_promise_types": "promise",
    "allotment_source_providers": "source provider",
    "allotment_supervisors": "supervisor",
    "allotment_allocation_terms": "allocation term",
    "allotment_job_kinds": "job kind",
    "allotment_verdict_rules": "verdict rule",
    "allotment_commands": "command",
}


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List what is loaded, and from where."""
    listing = describe_all()
    if as_json:
        click.echo(json.dumps(listing, indent=2))
        return
    for entry in listing["items"]:
        click.echo(
            f"{entry['kind']:<16} {entry['name']:<28} {entry['distribution']} {entry['version']}  {entry['doc']}"
        )
        if entry.get("other_names"):
            click.echo(f"{'':<16}   elsewhere: {', '.join(entry['other_names'])}")
        for option in entry.get("options", ()):
            default = "required" if option["default"] is None else f"default {option['default']!r}"
            click.echo(f"{'':<16}   {option['name']}: {option['type']}, {default}. {option['doc']}")
    for broken in listing["broken"]:
        click.echo(f"broken: {broken['plugin']} of {broken['distribution']} {broken['version']}: {broken['reason']}")


def describe_all() -> dict[str, Any]:
    """Return ``{"items": [...], "broken": [...]}``; an item has kind, name, origin, doc.

    Those with options have them listed, and as a JSON schema of a section's texts, for editors. Recipes have the names
    by which profiles of others may call them.
    """
    registry = plugins()
    items = [_describe(kind, found) for hook, kind in KINDS.items() for found in registry.contributions(hook)]
    broken = [{**dataclasses.asdict(item.origin), "reason": item.reason} for item in registry.broken]
    return {"items": items, "broken": broken}


def _describe(kind: str, found: Contribution) -> dict[str, Any]:
    item = found.item
    name = " ".join(item.path) if kind == "command" else getattr(item, "name", "") or item.key
    entry: dict[str, Any] = {"kind": kind, "name": name, **dataclasses.asdict(found.origin)}
    doc = getattr(item, "help", None) or getattr(item, "doc", None)
    if kind in ("recipe", "promise"):
        try:
            target = load(item.target)
        except PluginError as error:
            return {**entry, "doc": f"broken: {error}", "options": []}
        options = options_of(target)
        entry["options"] = [dataclasses.asdict(option) for option in describe_options(options)] if options else []
        entry["schema"] = schema_of_options(options) if options else {"type": "object"}
        names = getattr(target, "other_names", None)
        entry["other_names"] = names(name) if names is not None else []
        doc = target.__doc__
    elif not doc:
        doc = load(item.target).__doc__
    return {**entry, "doc": (doc or "").strip().split("\n")[0]}
