# SPDX-License-Identifier: Apache-2.0
"""What a node knows of its promises: which there are, how the agent judged each, and what the newest runs found."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allotment.errors import AllotmentError, nearest
from allotment.messages.desired_state import DesiredState, ObservedPromise
from allotment.messages.instance import InstanceState
from allotment.messages.silences import Silence
from allotment_node.documents import Documents
from allotment_node.folder import NodeFolder
from allotment_node.observations import Observations
from allotment_node.silences import Silences, matches

if TYPE_CHECKING:
    from allotment_promises.catalogue import Promise

UNKNOWN = "unknown"  # the status of a promise that the agent has not judged yet
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """One promise of one started partition."""

    document: DesiredState
    path: Path  # the partition's folder
    promise: "Promise | None"  # None: no file of the partition, a service that keeps failing
    observed: ObservedPromise | None
    silence: Silence | None = None

    @property
    def partition(self) -> str:
        """The partition's name."""
        return self.document.partition

    @property
    def name(self) -> str:
        """The promise's name."""
        return self.promise.name if self.promise is not None else self.observed.name if self.observed else ""

    @property
    def full_name(self) -> str:
        """``partition/name``."""
        return f"{self.partition}/{self.name}"

    @property
    def status(self) -> str:
        """How the agent judged it last: passed, failed, error or unknown."""
        return self.observed.status if self.observed is not None else UNKNOWN

    @property
    def since(self) -> float | None:
        """When it took this status, UTC epoch in seconds."""
        return self.observed.time if self.observed is not None else None


class Survey:
    """The promises of a node, read from its folder alone; works beside a running agent."""

    def __init__(self, folder: NodeFolder) -> None:
        self._folder = folder
        self._documents = Documents(folder.desired, folder.load_config().partition_names)
        self._observations = Observations(folder.observed)
        self._silences = Silences(folder.silences)

    def promises(self, patterns: Iterable[str] = ()) -> list[Listed]:
        """Return the promises that match one of ``patterns``, all if there is none, by partition and name.

        A pattern is a promise's name, ``partition/name`` or ``instance/name``, with ``*`` and ``?`` as in a shell. One
        that matches nothing is an error with the nearest name.
        """
        everything = list(self._all())
        wanted = list(patterns)
        for pattern in wanted:
            if not any(_matches(item, pattern) for item in everything):
                names = sorted({item.name for item in everything})
                raise AllotmentError(f"no promise matches '{pattern}'", nearest(pattern.rpartition("/")[2], names))
        return [item for item in everything if not wanted or any(_matches(item, pattern) for pattern in wanted)]

    def one(self, name: str) -> Listed:
        """Return the one promise of this name, or of this ``partition/name`` or ``instance/name``."""
        found = self.promises([name])
        if len(found) > 1:
            places = ", ".join(item.full_name for item in found[:5])
            raise AllotmentError(f"'{name}' means {len(found)} promises: {places}", "Name one of them so")
        return found[0]

    def _all(self) -> Iterator[Listed]:
        from allotment_promises.catalogue import read

        for document in sorted(self._documents.partitions(), key=lambda item: (len(item.partition), item.partition)):
            path = self._folder.partition(document.partition)
            if document.state is not InstanceState.STARTED or not path.is_dir():
                continue
            seen = self._observations.instance(document.partition)
            observed = (
                {item.name: item for item in seen.promises} if seen and seen.instance == document.instance else {}
            )
            for promise in read(path):
                silence = self._silences.find(document.partition, promise.name)
                yield Listed(document, path, promise, observed.pop(promise.name, None), silence)
            for item in observed.values():  # services that keep failing
                yield Listed(document, path, None, item, self._silences.find(document.partition, item.name))


def _matches(item: Listed, pattern: str) -> bool:
    return any(matches(pattern, place, item.name) for place in (item.partition, item.document.name))


def broken(listed: Sequence[Listed]) -> list[Listed]:
    """Return those that are judged broken."""
    return [item for item in listed if item.status not in ("passed", UNKNOWN)]
