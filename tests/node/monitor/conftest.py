# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from allotment.messages.promise_states import MetricState, PromiseState, PromiseStates
from allotment.messages.silences import Silence

HOSTILE = 'a\\b"c\nd</title><script>&#0;\x00\x1b\ud800{x="1"} 7\n# HELP x'


@pytest.fixture
def states() -> PromiseStates:
    """A node with a promise that is kept and silenced, and one whose every text is hostile."""

    def state(name: str, **changes: Any) -> PromiseState:
        values = {
            "partition": "part0",
            "instance": "hello",
            "status": "passed",
            "since": 1.0,
            "message": "",
            "time": 2.5,
        }
        return PromiseState(**{**values, "name": name, **changes})

    silence = Silence("5f0c1e9a", "page", "ada", "known", 0.0, 9.0)
    numbers = {"seconds": MetricState(0.25, "s"), "free": MetricState(1e12, "B"), "hits": MetricState(3.0)}
    hostile = {HOSTILE: MetricState(1.5, HOSTILE), "hits": MetricState(4.0), "hits ": MetricState(5.0)}
    return PromiseStates(
        "node-1",
        2.5,
        (
            state("page", metrics=numbers, silence=silence, seconds=0.5),
            state(HOSTILE, status="error", instance=HOSTILE, message=HOSTILE, metrics=hostile),
        ),
    )


@pytest.fixture
def hostile() -> str:
    return HOSTILE
