# SPDX-License-Identifier: Apache-2.0
"""Promises that break in operation and have their instance processed again: once for all of them, ever less often."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.desired_state import InstanceStatus
from allotment_node import asking
from allotment_promises.catalogue import Timing

Make = Callable[..., Any]


@pytest.fixture
def banging(make_agent: Make, master: Any, engines: Any, document: Make, until: Make) -> Any:
    """A running agent whose instance is green, with promises that bang, looked at each second."""
    engines.promises["part0"] = dict.fromkeys(("web", "database"), ("passed", ""))
    engines.timing = {name: Timing("", 1.0, bang=True) for name in ("web", "database")}
    agent = make_agent(settle=0.2)
    agent.start()
    master.set(document())
    until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.GREEN)
    return agent


def rounds(engines: Any, count: int) -> Callable[[], bool]:
    """Return a condition: promises were judged in operation that many times more."""
    begun = len(engines.checked)
    return lambda: sum(mode == "anomaly" for _, mode, _ in engines.checked[begun:]) >= count


def test_a_break_has_the_instance_processed_once_and_that_mends_it(
    banging: Any, master: Any, engines: Any, until: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        engines.promises["part0"] = dict.fromkeys(("web", "database"), ("passed", ""))

    engines.recipes = recipes
    until(rounds(engines, 2))
    assert engines.runs == ["part0"]
    engines.promises["part0"] = dict.fromkeys(("web", "database"), ("failed", "down"))
    until(lambda: len(engines.runs) == 2)
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    until(rounds(engines, 2))
    assert engines.runs == ["part0"] * 2
    assert "part0 is processed again, because promises are broken: database, web" in caplog.text


def test_what_stays_broken_is_not_processed_at_each_period(banging: Any, engines: Any, until: Make) -> None:
    engines.promises["part0"]["web"] = ("failed", "down")
    until(lambda: len(engines.runs) == 2)
    until(rounds(engines, 3))
    assert engines.runs == ["part0"] * 2


def test_what_stays_broken_is_processed_again_after_a_pause(
    banging: Any, engines: Any, until: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FIRST", 0.3)
    engines.promises["part0"]["web"] = ("failed", "down")
    until(lambda: len(engines.runs) == 4)


def test_a_promise_that_does_not_ask_for_it_has_nothing_processed(banging: Any, engines: Any, until: Make) -> None:
    engines.promises["part0"]["other"] = ("failed", "down")
    engines.timing["other"] = Timing("", 1.0)
    banging.watch.deployed("part0", "inst-1")
    banging._put("promises", "part0")
    until(lambda: any("other" in names and mode == "anomaly" for _, mode, names in engines.checked))
    until(rounds(engines, 2))
    assert engines.runs == ["part0"]
