# SPDX-License-Identifier: Apache-2.0
"""``allot lint``: problems of profiles and releases, each with its place and its fix, without building anything."""

import json
from pathlib import Path

import click

from allotment.errors import AllotmentError, nearest
from allotment_recipes.lint import compatibility, hashes, release_checks, rules
from allotment_recipes.lint.find import profiles
from allotment_recipes.lint.problem import Problem

RULES = (*rules.RULES, "syntax", *release_checks.RULES, compatibility.RULE)


@click.command("lint")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--against", "revision", metavar="REV", help="Also name what REV had and an update would break.")
@click.option("--skip", multiple=True, metavar="RULE", help=f"Leave a rule out; repeatable. Rules: {', '.join(RULES)}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--lsp", is_flag=True, help="Speak the language server protocol with an editor on standard input.")
def command(paths: tuple[Path, ...], revision: str | None, skip: tuple[str, ...], as_json: bool, lsp: bool) -> None:
    """Check profiles and releases: files, or folders with all below them. [default: this folder]

    Exits with 1 when there is a problem, so that it can stand before a commit.
    """
    if lsp:
        from allotment_recipes.lint.language_server import serve

        serve()
        return
    for name in skip:
        if name not in RULES:
            raise click.BadParameter(f"'{name}' is no rule. {nearest(name, RULES)}.", param_hint="--skip")
    found = profiles(paths or (Path(),))
    problems = check(found, frozenset(skip), revision)
    if as_json:
        click.echo(json.dumps({"profiles": len(found), "problems": [_document(problem) for problem in problems]}))
    else:
        for problem in problems:
            click.echo(str(problem))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {len(found)} profile"
        raise AllotmentError(f"{count}{'s' if len(found) > 1 else ''}", "Each line above names the place and the fix")
    if not as_json:
        click.echo(f"{len(found)} profile{'s' if len(found) != 1 else ''}: no problems")


def check(found: list[Path], skip: frozenset[str], revision: str | None) -> list[Problem]:
    """Return all problems, paths below the current folder relative to it."""
    problems: set[Problem] = set()
    for path in found:
        problems.update(release_checks.check(path, {}, skip=skip))
        if hashes.RULE not in skip:
            problems.update(item.problem for item in hashes.checksums(path) if not item.is_right)
        is_release = path.name == compatibility.RELEASE or path.with_name(f"{path.name}.json").exists()
        if revision is not None and is_release and compatibility.RULE not in skip:
            problems.update(compatibility.against(path, revision))
    return sorted(rules.relative(problems, Path.cwd()))


def _document(problem: Problem) -> dict[str, object]:
    fields = {"line": problem.line, "rule": problem.rule, "what": problem.what, "fix": problem.fix}
    return {"path": str(problem.path), **fields}
