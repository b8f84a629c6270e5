# SPDX-License-Identifier: Apache-2.0
"""Which part is to begin next: of those that can, the one with the longest way to the end of the build behind it."""

from collections.abc import Collection, Iterator, Mapping
from statistics import median


class Schedule:
    """The parts that are to be built, in the order of the profile, in which what a part refers to stands before it.

    ``references`` maps each part to those that it refers to; parts that refer to each other are built in the order of
    the profile. ``expected`` maps parts to seconds; of one that is not in it the time is taken to be as usual.
    """

    def __init__(
        self, references: Mapping[str, Collection[str]], expected: Mapping[str, float], done: Collection[str] = ()
    ) -> None:
        place = {part: number for number, part in enumerate(references)}
        self._place = place
        self._left = {
            part: {name for name in names if place.get(name, len(place)) < place[part] and name not in done}
            for part, names in references.items()
            if part not in done
        }
        self._users: dict[str, set[str]] = {part: set() for part in references}
        for part, names in self._left.items():
            for name in names:
                self._users[name].add(part)
        known = [seconds for seconds in expected.values() if seconds]
        usual = median(known) if known else 1.0
        self.remaining: dict[str, float] = {}  # seconds from a part's beginning to the end of all that waits for it
        for part in reversed(list(references)):
            after = max((self.remaining[user] for user in self._users[part]), default=0.0)
            self.remaining[part] = after + expected.get(part, usual)
        self._waiting = set(self._left)

    def ready(self) -> list[str]:
        """Return the parts that can begin, those first that should."""
        found = [part for part in self._waiting if not self._left[part]]
        return sorted(found, key=lambda part: (-self.remaining[part], self._place[part]))

    def begin(self, part: str) -> None:
        """Note that a part is at work."""
        self._waiting.discard(part)

    def finish(self, part: str) -> None:
        """Note that a part is done."""
        self._waiting.discard(part)
        for user in self._users[part]:
            self._left[user].discard(part)

    def fail(self, part: str) -> list[str]:
        """Note that a part has failed; return those that never begin now, because they need it."""
        self._waiting.discard(part)
        hopeless = set(self._needing(part)) & self._waiting
        self._waiting -= hopeless
        return sorted(hopeless, key=self._place.__getitem__)

    def _needing(self, part: str) -> Iterator[str]:
        seen: set[str] = set()
        todo = [part]
        while todo:
            new = self._users[todo.pop()] - seen
            seen |= new
            todo += new
            yield from new
