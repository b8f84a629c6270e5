# SPDX-License-Identifier: Apache-2.0
"""Correlation: of many promises that are broken at once, the likely roots, each with what it explains.

Like the reachability logic of Nagios: a failure is not news when what it depends on has failed too. Besides what a
promise file states by ``after``, dependencies are taken from the layers: what looks nearer to the machine explains
what looks further from it, if both look at the same thing and it did not break later.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from allotment_promises.generic import Layer

SLACK = 120.0  # seconds by which a cause may be noticed later than what it explains: promises run each at its time


@dataclass(frozen=True)
class Broken:
    """A promise that is broken now; names are unique within a partition."""

    partition: str
    name: str
    since: float  # UTC epoch, seconds: its first failure without a break
    layer: Layer = Layer.APPLICATION
    target: str = ""  # see GenericPromise.target
    after: tuple[str, ...] = ()  # see PromiseFile.after


@dataclass(frozen=True)
class Cause:
    """A likely root, and all that it explains, directly or not."""

    root: Broken
    explained: tuple[Broken, ...] = ()


def causes(broken: Iterable[Broken]) -> list[Cause]:
    """Return the likely roots, those that explain most first, then those that are nearest to the machine or oldest."""
    items = sorted(broken, key=_order)
    parents = {item: _parent(item, items) for item in items}
    explained: dict[Broken, list[Broken]] = {}
    for item in items:
        root = _root(item, parents)
        explained.setdefault(root, [])
        if root != item:
            explained[root].append(item)
    found = [Cause(root, tuple(others)) for root, others in explained.items()]
    return sorted(found, key=lambda cause: (-len(cause.explained), _order(cause.root)))


def _order(item: Broken) -> tuple[int, float, str, str]:
    return item.layer, item.since, item.partition, item.name


def _parent(item: Broken, items: Iterable[Broken]) -> Broken | None:
    """Return what explains ``item`` best: what it names itself, else the nearest layer below."""
    others = [other for other in items if other != item]
    named = [other for other in others if other.partition == item.partition and other.name in item.after]
    if named:
        return named[0]
    return max((other for other in others if _explains(other, item)), key=lambda other: other.layer, default=None)


def _explains(cause: Broken, item: Broken) -> bool:
    if cause.layer >= item.layer or cause.since > item.since + SLACK:
        return False
    if cause.layer is Layer.HOST:
        return True
    if cause.layer is Layer.PROCESS and cause.partition == item.partition:
        return True
    if not cause.target:
        return False
    return cause.target == item.target or (cause.layer <= Layer.NAME and cause.target == _host(item.target))


def _root(item: Broken, parents: dict[Broken, Broken | None]) -> Broken:
    """Follow the parents to the last one; in a circle of promises that name each other, to its first by order."""
    chain = [item]
    while (parent := parents[chain[-1]]) is not None:
        if parent in chain:
            return min(chain[chain.index(parent) :], key=_order)
        chain.append(parent)
    return chain[-1]


def _host(target: str) -> str:
    """Return the host of ``host:port``."""
    host, _, port = target.rpartition(":")
    return host if port.isdecimal() else target
