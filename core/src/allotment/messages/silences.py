# SPDX-License-Identifier: Apache-2.0
"""Silences: promises whose failure is known, and for a while nobody's alarm; kept on the node, by its operators."""

from dataclasses import dataclass

from allotment.codec import message


@dataclass(frozen=True)
class Silence:
    """One silence; who, why and until when are always there."""

    id: str  # by which it is ended
    promise: str  # a promise's name, or partition/name, with * and ? as in a shell
    author: str
    reason: str
    start: float  # UTC epoch, seconds
    until: float  # UTC epoch, seconds


@message("silences", format=1)
@dataclass(frozen=True)
class Silences:
    """All silences of a node: ``state/silences.json`` in its folder."""

    silences: tuple[Silence, ...] = ()
