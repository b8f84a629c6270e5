# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus, ObservedInstance
from allotment_node.observations import Observations
from allotment_node.promises import PromiseWatch


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observations(scratch: Path) -> Observations:
    found = Observations(scratch / "observed")
    found.put_instance(ObservedInstance("part0", "inst-1", 1, InstanceStatus.PROCESSING))
    return found


@pytest.fixture
def watch(engines: Any, observations: Observations, clock: Clock, scratch: Path) -> PromiseWatch:
    engines.promises["part0"] = {"a": ("passed", ""), "b": ("failed", "not yet")}
    return PromiseWatch(
        lambda name: scratch / name, engines.launch, engines.catalogue, observations, settle=10.0, clock=clock
    )


def status(observations: Observations) -> Any:
    seen = observations.instance("part0")
    assert seen is not None
    return seen.status


def test_broken_promises_are_tested_again_at_short_intervals_after_a_deployment(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    watch.deployed("part0", "inst-1")
    delay = watch.check("part0")
    assert delay == pytest.approx(0.2)
    assert status(observations) is InstanceStatus.PROCESSING
    engines.promises["part0"]["b"] = ("passed", "")
    clock.now += 0.2
    assert watch.check("part0") == pytest.approx(59.8)
    assert status(observations) is InstanceStatus.GREEN
    assert engines.checked == [("part0", "test", ("a", "b")), ("part0", "test", ("b",))]


def test_an_instance_that_does_not_settle_is_red(watch: PromiseWatch, observations: Observations, clock: Clock) -> None:
    watch.deployed("part0", "inst-1")
    while clock.now < 1010.0:
        assert status(observations) is InstanceStatus.PROCESSING
        clock.now += watch.check("part0") or 0.0
    watch.check("part0")
    assert status(observations) is InstanceStatus.RED


def test_later_each_promise_is_judged_by_its_history_when_it_is_due(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    watch.deployed("part0", "inst-1")
    watch.check("part0")
    clock.now += 60.0
    watch.check("part0")
    assert engines.checked[-1] == ("part0", "anomaly", ("a", "b"))


def test_a_promise_is_reported_when_it_flips(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    watch.deployed("part0", "inst-1")
    watch.check("part0")
    seen = observations.instance("part0")
    engines.promises["part0"]["a"] = ("passed", "another text")
    clock.now += 60.0
    watch.check("part0")
    assert observations.instance("part0") is seen
    engines.promises["part0"]["a"] = ("failed", "down")
    clock.now += 60.0
    watch.check("part0")
    assert status(observations) is InstanceStatus.RED
    assert [item.message for item in observations.instance("part0").promises] == ["down", ""]  # type: ignore[union-attr]


def test_results_of_before_a_new_deployment_are_dropped(
    watch: PromiseWatch, engines: Any, observations: Observations
) -> None:
    launch = engines.launch

    def overtaken(*arguments: Any) -> Any:
        found = launch(*arguments)
        watch.deployed("part0", "inst-1")
        return found

    engines.promises["part0"]["b"] = ("passed", "")
    watch._launch = overtaken
    watch.deployed("part0", "inst-1")
    assert watch.check("part0") == 0.0
    assert status(observations) is InstanceStatus.PROCESSING


def test_a_partition_that_is_being_processed_is_not_made_green_by_what_it_was_before(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    watch.deployed("part0", "inst-1")
    watch.check("part0")
    watch.changing("part0")
    observations.put_instance(ObservedInstance("part0", "inst-1", 2, InstanceStatus.PROCESSING))
    clock.now += 60.0
    watch.check("part0")
    watch.services("part0", {"sleeper": "exited"})
    watch.services("part0", {})
    assert status(observations) is InstanceStatus.PROCESSING
    assert len(observations.instance("part0").promises) == 2  # type: ignore[union-attr]
    watch.adopted("part0", "inst-1")
    clock.now += 60.0
    watch.check("part0")
    assert status(observations) is InstanceStatus.GREEN


def test_an_instance_without_promises_is_green(watch: PromiseWatch, engines: Any, observations: Observations) -> None:
    engines.promises.clear()
    watch.deployed("part0", "inst-1")
    assert watch.check("part0") == pytest.approx(3600.0)
    assert status(observations) is InstanceStatus.GREEN
    assert engines.checked == []


def test_a_waiting_or_failed_instance_is_not_made_green(
    watch: PromiseWatch, engines: Any, observations: Observations
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    for found in (InstanceStatus.WAITING, InstanceStatus.FAILED):
        observations.put_instance(ObservedInstance("part0", "inst-1", 1, found))
        watch.deployed("part0", "inst-1")
        watch.check("part0")
        assert status(observations) is found


def test_a_service_that_keeps_failing_makes_red_and_its_recovery_green(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    watch.deployed("part0", "inst-1")
    watch.check("part0")
    clock.now += 11.0
    watch.services("part0", {"web": "Exited too quickly"})
    seen = observations.instance("part0")
    assert seen is not None
    assert seen.status is InstanceStatus.RED
    assert (seen.promises[-1].name, seen.promises[-1].message) == ("service web", "Exited too quickly")
    watch.services("part0", {"web": "Exited too quickly"})
    assert observations.instance("part0") is seen
    watch.services("part0", {})
    assert status(observations) is InstanceStatus.GREEN


def test_promises_that_can_t_be_run_are_errors_until_they_can(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise AllotmentError("the launcher is gone")

    watch._launch = broken
    watch.deployed("part0", "inst-1")
    assert watch.check("part0") == pytest.approx(0.2)
    assert "part0: promises can't be run: the launcher is gone." in caplog.text
    clock.now += 11.0
    watch.check("part0")
    seen = observations.instance("part0")
    assert seen is not None
    assert seen.status is InstanceStatus.RED
    assert {item.message for item in seen.promises} == {"can't be run: the launcher is gone."}
    watch._launch = engines.launch
    engines.promises["part0"]["b"] = ("passed", "")
    clock.now += 60.0
    watch.check("part0")
    assert status(observations) is InstanceStatus.GREEN


def test_a_forgotten_partition_is_not_watched(watch: PromiseWatch) -> None:
    watch.deployed("part0", "inst-1")
    watch.forget("part0")
    assert watch.check("part0") is None
    watch.services("part0", {"web": "x"})


def test_a_new_agent_watches_on(watch: PromiseWatch, engines: Any, observations: Observations) -> None:
    watch.adopted("part0", "inst-1")
    watch.check("part0")
    assert engines.checked == [("part0", "anomaly", ("a", "b"))]
    watch.adopted("part0", "inst-1")
    assert (watch.check("part0") or 0.0) > 50.0
