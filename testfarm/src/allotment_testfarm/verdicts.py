# SPDX-License-Identifier: Apache-2.0
"""Verdicts: what a job's last attempt means for its release, seen against what was known before."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from allotment.messages.job import Attempt, CaseOutcome, Outcome, TestCase
from allotment.plugins import Plugins, load

_log = logging.getLogger(__name__)


class Colour(StrEnum):
    """What a verdict says at a glance."""

    GREEN = "green"
    RED = "red"
    GREY = "grey"  # it says nothing about the software


@dataclass(frozen=True)
class Verdict:
    """A judgement; the built-in names are passed, fixed, new-failure, still-failing, timed-out and inconclusive."""

    name: str
    colour: Colour
    detail: str = ""  # one line, for people
    since: str = ""  # commit since which the release has this colour; the engine fills it in


Rule = Callable[[Attempt, Verdict | None], Verdict | None]


def passed(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
    """Green: ``fixed`` when the release was red before, else ``passed``."""
    if attempt.outcome is not Outcome.PASSED:
        return None
    detail = _count(attempt.cases)
    if earlier is not None and earlier.colour is Colour.RED:
        return Verdict("fixed", Colour.GREEN, detail)
    return Verdict("passed", Colour.GREEN, detail)


def failed(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
    """Red: ``still-failing`` when the release was red before, else ``new-failure``."""
    if attempt.outcome is not Outcome.FAILED:
        return None
    detail = _failures(attempt.cases) or attempt.reason
    if earlier is not None and earlier.colour is Colour.RED:
        return Verdict("still-failing", Colour.RED, detail)
    return Verdict("new-failure", Colour.RED, detail)


def timed_out(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
    """Red: the job did not end in its time."""
    if attempt.outcome is not Outcome.TIMED_OUT:
        return None
    return Verdict("timed-out", Colour.RED, attempt.reason)


def inconclusive(attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
    """Grey: cancelled, lost, or the test nodes could not do their part."""
    return Verdict("inconclusive", Colour.GREY, attempt.reason)


def rules(registry: Plugins) -> tuple[Rule, ...]:
    """Return the rules of all plugins in their order."""
    found = sorted(registry.items("allotment_verdict_rules"), key=lambda rule: rule.order)
    return tuple(load(rule.target) for rule in found)


def judge(attempt: Attempt, earlier: Verdict | None, revision: str, rules: Iterable[Rule]) -> Verdict:
    """Return the first verdict that a rule gives; ``earlier`` is the last green or red one at an older revision.

    ``since`` stays that of ``earlier`` while the colour does, else it is ``revision``. A rule that raises is left out,
    and so is one whose answer is neither a verdict nor None.
    """
    for rule in rules:
        try:
            verdict = _answer(rule, attempt, earlier)
        except Exception:  # a plugin's rule must not stop the engine from recording what it was told
            _log.exception("verdict rule %r failed for job %s", rule, attempt.job)
            continue
        if verdict is not None:
            is_same = earlier is not None and earlier.colour is verdict.colour
            return replace(verdict, since=earlier.since if earlier is not None and is_same else revision)
    return replace(Verdict("inconclusive", Colour.GREY, "no verdict rule applies"), since=revision)


def _answer(rule: Rule, attempt: Attempt, earlier: Verdict | None) -> Verdict | None:
    verdict = rule(attempt, earlier)
    if verdict is not None and not (isinstance(verdict, Verdict) and isinstance(verdict.colour, Colour)):
        raise TypeError(f"{verdict!r} is no Verdict with a Colour")
    return verdict


def _count(cases: tuple[TestCase, ...]) -> str:
    ran = [case for case in cases if case.outcome is not CaseOutcome.SKIPPED]
    if not ran:
        return ""
    return "1 test case passed" if len(ran) == 1 else f"{len(ran)} test cases passed"


def _failures(cases: tuple[TestCase, ...]) -> str:
    bad = [case for case in cases if case.outcome in (CaseOutcome.FAILED, CaseOutcome.ERROR)]
    if not bad:
        return ""
    return f"{len(bad)} of {len(cases)} test cases failed, the first {bad[0].name}"
