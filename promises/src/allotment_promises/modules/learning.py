# SPDX-License-Identifier: Apache-2.0
"""Find out when modules run before they have run: each is made, in its own process, and says so."""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_promises.modules import facts, header
from allotment_promises.modules.hosts import SHARED
from allotment_promises.modules.module import request

_WRONG = (AllotmentError, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError)
_SECONDS = 10.0  # for all together; those that have not answered by then run as often as any, until they have run once


def learn(partition: Path, paths: Iterable[Path]) -> bool:
    """Ask the modules in ``paths`` that have said nothing since they were written; return whether one answered."""
    deadline = time.monotonic() + _SECONDS
    has_learned = False
    for path in paths:
        if facts.is_known(partition, path):
            continue
        with contextlib.suppress(*_WRONG):  # what is wrong its first run will tell
            head, imports = header.read(path)
            child = SHARED.connect(head, imports, partition, deadline)
            try:
                answer = child.ask({**request(path, partition, _SECONDS), "ask": "facts"})
            finally:
                child.end()
            if "error" not in answer:
                facts.write(partition, path.stem, facts.told(answer))
                has_learned = True
    return has_learned
