# SPDX-License-Identifier: Apache-2.0
"""Who is the main instance of a resilient tree, after takeovers of which nobody asked the tree."""

from collections.abc import Collection, Mapping
from typing import Final

from allotment_recipes.resilience.takeover import Takeover

MAIN, STANDBY, SUPERSEDED = "main", "standby", "superseded"  # roles of instances that hold the data
WAITING, PULL, PULL_AND_PUSH = "waiting", "pull", "pull-and-push"  # roles of backup instances
FIRST: Final = "main"  # name of the instance that is the main one before any takeover


def line(takeovers: Mapping[str, Takeover], dismissed: Collection[str] = ()) -> list[str]:
    """Return the names of all that were the main instance, in their order; the last is it now.

    A place is taken once: of several that took the same one's, the earliest counts. One whose takeover nobody tells any
    more, because it was dismissed or its partition was lost, took a place as well: who follows it follows the last that
    is known.
    """
    found = [FIRST]
    left = {name: takeover for name, takeover in takeovers.items() if name not in (FIRST, *dismissed)}
    vacant = {FIRST, *(takeover.predecessor for takeover in left.values())} - {"", *left}
    while True:
        heirs = [(takeover.moment, name) for name, takeover in left.items() if takeover.predecessor in vacant]
        if not heirs:
            return found
        _, name = min(heirs)
        vacant -= {left.pop(name).predecessor, found[-1]}
        vacant.add(name)
        found.append(name)
