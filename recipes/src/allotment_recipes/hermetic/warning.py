# SPDX-License-Identifier: Apache-2.0
"""What a build says, once, where the kernel confines nothing."""

import fcntl
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from allotment_recipes.context import RunContext

UNCONFINED: Final = "this build could reach the network and see undeclared folders"
_EVENT: Final = "unconfined"


def tell_once(run: "RunContext", part: str, refusal: str, say: Callable[[str], None]) -> None:
    """Say it to the log and the events of a build, by the first of the parts that are built side by side."""
    from allotment_recipes.graph.events import EVENTS, tell

    if run.closure is None:
        say(f"{UNCONFINED}: {refusal}")
        return
    handle = os.open(run.folder / EVENTS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with open(handle, "rb", closefd=False) as file:
            is_told = f'"event": "{_EVENT}"'.encode() in file.read()
        if not is_told:
            tell(run, part, _EVENT, why=refusal)
            say(f"{UNCONFINED}: {refusal}")
    finally:
        os.close(handle)
