# SPDX-License-Identifier: Apache-2.0
"""What the commands of a part are told of how many of them may run at the same time."""

import contextlib
import os
from collections.abc import Iterator, Mapping


def cores() -> int:
    """Return how many cores are ours."""
    return len(os.sched_getaffinity(0))


class Jobs:
    """A part that is built alone: make uses all cores."""

    def equip(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a part's commands, with what tells make and its like how many to run."""
        return {"MAKEFLAGS": f"-j{cores()}", **environment}

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Let others work while the block waits for another process."""
        yield
