# SPDX-License-Identifier: Apache-2.0
"""Projects: each is there once, however many engines begin."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from allotment_testfarm.db import projects


def test_engines_that_begin_at_once_make_a_project_once(filled: Any) -> None:
    barrier = threading.Barrier(4, timeout=30.0)

    def ensure(number: int) -> set[int]:
        found = set()
        for name in map(str, range(20)):
            barrier.wait()
            found.add(filled.run(projects.ensure, name, f"repository-{name}", "", filled.now).id)
        return found

    with ThreadPoolExecutor(4) as pool:
        one, *others = pool.map(ensure, range(4))
    assert len(one) == 20
    assert others == [one] * 3


def test_a_project_keeps_its_history_when_its_repository_moves(filled: Any) -> None:
    made = filled.run(projects.ensure, "moving", "here", "", filled.now)
    moved = filled.run(projects.ensure, "moving", "there", "stable", filled.now + 9.0)
    assert (moved.id, moved.created) == (made.id, made.created)
    assert (moved.repository, moved.branch) == ("there", "stable")
