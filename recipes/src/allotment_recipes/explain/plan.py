# SPDX-License-Identifier: Apache-2.0
"""What a build would do, and why: told from the inputs of now, the record of the last build, and what is there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from allotment_recipes.explain.differences import Difference, differences, first_of, names_of
from allotment_recipes.explain.inputs import Entry
from allotment_recipes.graph.schedule import Schedule

Action = Literal["built", "fetched", "reused"]


@dataclass(frozen=True)
class PlannedPart:
    """What becomes of one part."""

    name: str
    version: str
    action: Action
    expected: float | None  # seconds that it took the last time; None: not known
    why: tuple[Difference, ...]  # what is not as it was at the last build; of a part that is reused, too
    roots: tuple[str, ...] = ()  # the parts whose own change makes this one another: itself, or what it refers to
    hash: str = ""
    location: str = ""

    @property
    def own(self) -> tuple[Difference, ...]:
        """What changed of itself, and not of what it refers to."""
        return tuple(item for item in self.why if not item.follows)


@dataclass(frozen=True)
class Cause:
    """A part that has changed itself, and the parts that follow from it."""

    part: str
    why: tuple[Difference, ...]
    followers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What becomes of all parts, in the order of the profile."""

    parts: tuple[PlannedPart, ...]
    causes: tuple[Cause, ...]  # those that most follow from come first
    gone: tuple[str, ...]  # parts that the profile had at the last build
    seconds: float  # of what is to be built, as far as it is known
    unknown: tuple[str, ...]  # parts to be built of which nobody knows how long it takes
    jobs: int

    def of(self, action: Action) -> list[PlannedPart]:
        """Return the parts of which one thing becomes."""
        return [part for part in self.parts if part.action == action]


def make_plan(survey: Mapping[str, Any], kept: Mapping[str, Entry], jobs: int) -> Plan:
    """Return the plan of a build: ``survey`` is what the driver found now, ``kept`` what the last build recorded."""
    now: Mapping[str, Entry] = survey["parts"]
    names = names_of(now, kept)
    why = {name: tuple(first_of(_differences(entry, kept, name, names))) for name, entry in now.items()}
    roots = _roots(now, why)
    parts = tuple(_planned(name, entry, why[name], roots[name]) for name, entry in now.items())
    causes = [
        Cause(
            part.name,
            part.own,
            tuple(sorted(other for other in now if other != part.name and part.name in roots[other])),
        )
        for part in parts
        if part.own
    ]
    causes.sort(key=lambda cause: -len(cause.followers))
    built = [part for part in parts if part.action == "built"]
    unknown = tuple(part.name for part in built if part.expected is None)
    gone = tuple(sorted(kept.keys() - now.keys()))
    return Plan(parts, tuple(causes), gone, _estimate(built, survey["references"], jobs), unknown, jobs)


def _planned(name: str, entry: Entry, why: tuple[Difference, ...], roots: tuple[str, ...]) -> PlannedPart:
    is_there = entry["is_there"] if entry["is_there"] is not None else not why
    action: Action = "reused" if is_there else "fetched" if entry["is_cached"] else "built"
    return PlannedPart(name, entry["version"], action, entry["expected"], why, roots, entry["hash"], entry["location"])


def _differences(entry: Entry, kept: Mapping[str, Entry], name: str, names: Mapping[str, str]) -> Iterable[Difference]:
    before = kept.get(name)
    last = before if before is None or before["built"] else before["before"]
    if before is not None and before["hash"] == entry["hash"]:
        if not before["built"]:
            return [Difference("unfinished"), *(differences(last, entry, names) if last else ())]
        return [Difference("missing")] if entry["is_there"] is False else []
    return [Difference("new")] if last is None else differences(last, entry, names)


def _roots(now: Mapping[str, Entry], why: Mapping[str, Iterable[Difference]]) -> dict[str, tuple[str, ...]]:
    """Map each part to those, itself among them, whose own change is behind its own."""
    found: dict[str, set[str]] = {name: {name} if _is_own(why[name]) else set() for name in now}
    followed = {name: [item.name for item in why[name] if item.follows and item.name in now] for name in now}
    is_growing = True
    while is_growing:  # parts may refer to each other
        before = sum(map(len, found.values()))
        for name, others in followed.items():
            found[name].update(*(found[other] for other in others))
        is_growing = sum(map(len, found.values())) > before
    return {name: tuple(sorted(roots)) for name, roots in found.items()}


def _is_own(why: Iterable[Difference]) -> bool:
    return any(not item.follows for item in why)


def _estimate(parts: Iterable[PlannedPart], references: Mapping[str, list[str]], jobs: int) -> float:
    """Return the seconds from the first part to the last, ``jobs`` at a time, by what each took the last time."""
    expected = {part.name: part.expected or 0.0 for part in parts}
    schedule = Schedule(references, expected, references.keys() - expected.keys())
    now, running = 0.0, dict[str, float]()
    while True:
        for part in schedule.ready()[: jobs - len(running)]:
            schedule.begin(part)
            running[part] = now + expected[part]
        if not running:
            return now
        now = min(running.values())
        for part in [part for part, end in running.items() if end == now]:
            del running[part]
            schedule.finish(part)


def as_data(plan: Plan, lines_of: Callable[[str], Callable[[Difference], list[str]]]) -> dict[str, Any]:
    """Return a plan for programs; ``lines_of`` gives, for a part, how a file of it differs."""
    return {
        "parts": [
            {
                "part": part.name, "version": part.version, "action": part.action, "expected": part.expected,
                "hash": part.hash, "location": part.location, "roots": list(part.roots),
                "why": [described(item, lines_of(part.name)) for item in part.why],
            }
            for part in plan.parts
        ],
        "causes": [
            {
                "part": cause.part, "follow": list(cause.followers),
                "why": [described(item, lines_of(cause.part)) for item in cause.why],
            }
            for cause in plan.causes
        ],
        "gone": list(plan.gone), "seconds": round(plan.seconds, 1), "unknown": list(plan.unknown), "jobs": plan.jobs,
    }  # fmt: skip


def described(item: Difference, lines_of: Callable[[Difference], list[str]]) -> dict[str, Any]:
    """Return a difference for programs."""
    lines = lines_of(item)
    fields = {"kind": item.kind, "name": item.name, "before": item.before, "after": item.after, "text": str(item)}
    return {**fields, "lines": lines} if lines else fields
