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

    Of several that took the same one's place, the earliest counts. Nobody knows any more whose place a dismissed one
    had: who follows it follows the last that is known.
    """
    found = [FIRST]
    left = {name: takeover for name, takeover in takeovers.items() if name not in (FIRST, *dismissed)}
    while True:
        before = {found[-1], *dismissed}
        heirs = [(takeover.moment, name) for name, takeover in left.items() if takeover.predecessor in before]
        if not heirs:
            return found
        _, name = min(heirs)
        del left[name]
        found.append(name)
