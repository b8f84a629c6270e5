# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus, ObservedInstance
from allotment_node.observations import Observations
from allotment_node.promises import PromiseWatch
from allotment_promises.catalogue import Timing
from allotment_promises.result import PromiseResult, PromiseStatus


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bangs(list[tuple[str, list[str]]]):
    """The bangs so far."""

    def add(self, name: str, broken: Sequence[str]) -> None:
        self.append((name, list(broken)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observations(scratch: Path) -> Observations:
    found = Observations(scratch / "observed")
    found.put_instance(ObservedInstance("part0", "inst-1", 1, InstanceStatus.PROCESSING))
    return found


@pytest.fixture
def bangs() -> Bangs:
    return Bangs()


@pytest.fixture
def watch(engines: Any, observations: Observations, clock: Clock, scratch: Path, bangs: Bangs) -> PromiseWatch:
    engines.promises["part0"] = {"a": ("passed", ""), "b": ("failed", "not yet")}
    return PromiseWatch(
        lambda name: scratch / name, engines.launch, engines.timings, observations, 10.0, bangs.add, clock
    )


def seen(observations: Observations) -> ObservedInstance:
    found = observations.instance("part0")
    assert found is not None
    return found


def status(observations: Observations) -> InstanceStatus:
    return seen(observations).status


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


def test_an_instance_is_green_when_every_promise_has_said_so(
    scratch: Path, engines: Any, observations: Observations, clock: Clock, until: Callable[..., Any]
) -> None:
    go_on = threading.Event()

    def launch(partition: Path, mode: Any, names: Any) -> Iterator[list[PromiseResult]]:
        yield []
        yield [PromiseResult("a", PromiseStatus.PASSED, "", 1.0, 0.0)]
        go_on.wait(60)
        yield [PromiseResult("b", PromiseStatus.PASSED, "", 1.0, 0.0)]

    engines.promises["part0"] = dict.fromkeys("ab", ("passed", ""))
    watch = PromiseWatch(lambda name: scratch / name, launch, engines.timings, observations, settle=10.0, clock=clock)
    watch.deployed("part0", "inst-1")
    watch.check("part0")  # does not wait for what hangs
    until(lambda: observations.instance("part0").promises)  # type: ignore[union-attr]
    watch.services("part0", {"web": "exited"})
    watch.services("part0", {})
    assert status(observations) is InstanceStatus.PROCESSING
    go_on.set()
    until(lambda: status(observations) is InstanceStatus.GREEN)


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


def operate(watch: PromiseWatch, clock: Clock) -> None:
    """Deploy, and let the time for settling pass."""
    watch.deployed("part0", "inst-1")
    watch.check("part0")
    clock.now += 60.0


def test_promises_that_break_in_operation_ask_once_for_their_instance(
    watch: PromiseWatch, engines: Any, clock: Clock, bangs: Bangs
) -> None:
    engines.promises["part0"] = dict.fromkeys("abc", ("passed", ""))
    engines.timing = {name: Timing("", 60.0, bang=True) for name in "ab"}
    operate(watch, clock)
    watch.check("part0")
    assert bangs == []
    engines.promises["part0"] = dict.fromkeys("abc", ("failed", "down"))
    clock.now += 60.0
    watch.check("part0")
    assert bangs == [("part0", ["a", "b"])]


def test_neither_settling_nor_processing_nor_a_bug_asks_for_an_instance(
    watch: PromiseWatch, engines: Any, clock: Clock, bangs: Bangs
) -> None:
    engines.timing = {name: Timing("", 60.0, bang=True) for name in "ab"}
    operate(watch, clock)
    watch.changing("part0")
    watch.check("part0")
    watch.adopted("part0", "inst-1")
    engines.promises["part0"]["b"] = ("error", "a bug")
    clock.now += 60.0
    watch.check("part0")
    assert bangs == []


def test_promises_of_one_phase_run_in_it(watch: PromiseWatch, engines: Any, clock: Clock) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    engines.timing = {"a": Timing("", 60.0, only="test"), "b": Timing("", 60.0, only="anomaly")}
    operate(watch, clock)
    watch.check("part0")
    assert engines.checked == [("part0", "test", ("a",)), ("part0", "anomaly", ("b",))]


def test_a_machine_that_was_suspended_runs_each_once(watch: PromiseWatch, engines: Any, clock: Clock) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    operate(watch, clock)
    clock.now += 7 * 3600.0 + 5.0
    assert watch.check("part0") == pytest.approx(55.0)
    assert engines.checked[1:] == [("part0", "anomaly", ("a", "b"))]


def test_partitions_that_are_due_together_are_spread(
    watch: PromiseWatch, engines: Any, clock: Clock, observations: Observations
) -> None:
    names = [f"part{number}" for number in range(10)]
    for name in names:
        observations.put_instance(ObservedInstance(name, f"inst-{name}", 1, InstanceStatus.GREEN))
        engines.promises[name] = {f"p{number}": ("passed", "") for number in range(50)}
        watch.adopted(name, f"inst-{name}")
    delays = [watch.check(name) or 0.0 for name in names]
    assert [name for name, _, _ in engines.checked] == names[:1]
    assert delays[1:] == pytest.approx([number / 2 - 0.25 for number in range(1, 10)])  # a hundred promises a second
    clock.now += 5.0
    assert [watch.check(name) for name in names[1:]] == pytest.approx([55.0 + delay for delay in delays[1:]])


def test_promises_that_can_t_be_read_make_red_until_they_can(
    watch: PromiseWatch, engines: Any, observations: Observations
) -> None:
    def broken(*_: Any) -> Any:
        raise AllotmentError("part0 is a link")

    watch._timings = broken
    watch.adopted("part0", "inst-1")
    assert watch.check("part0") == 30.0
    assert status(observations) is InstanceStatus.RED
    assert [item.message for item in seen(observations).promises] == ["can't be read: part0 is a link."]
    engines.promises["part0"]["b"] = ("passed", "")
    watch._timings = engines.timings
    watch.check("part0")
    assert status(observations) is InstanceStatus.GREEN


def test_a_silenced_promise_runs_on_but_makes_nothing_red_and_asks_for_nothing(
    engines: Any, observations: Observations, clock: Clock, scratch: Path, bangs: Bangs
) -> None:
    silenced = {("part0", "a"), ("part0", "service web")}
    engines.promises["part0"] = dict.fromkeys("ab", ("passed", ""))
    engines.timing = {name: Timing("", 60.0, bang=True) for name in "ab"}
    watch = PromiseWatch(
        lambda name: scratch / name,
        engines.launch,
        engines.timings,
        observations,
        10.0,
        bangs.add,
        clock,
        lambda name, promise: "ann: known" if (name, promise) in silenced else "",
    )
    operate(watch, clock)
    engines.promises["part0"]["a"] = ("failed", "down")
    watch.check("part0")
    watch.services("part0", {"web": "exited"})
    assert (status(observations), bangs) == (InstanceStatus.GREEN, [])
    seen = observations.instance("part0")
    assert seen is not None
    assert {item.name: item.status for item in seen.promises} == {"a": "failed", "b": "passed", "service web": "failed"}
    assert {item.name: item.silence for item in seen.promises} == {
        "a": "ann: known",
        "b": "",
        "service web": "ann: known",
    }
    silenced.clear()
    clock.now += 60.0
    watch.check("part0")
    assert (status(observations), bangs) == (InstanceStatus.RED, [("part0", ["a"])])


def test_a_silence_counts_before_the_promise_runs_again(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    silences: list[str] = []
    watch._silence = lambda name, promise: next(iter(silences), "")
    engines.promises["part0"]["b"] = ("passed", "")
    operate(watch, clock)
    engines.promises["part0"]["a"] = ("failed", "down")
    watch.check("part0")
    assert status(observations) is InstanceStatus.RED
    runs = len(engines.checked)
    silences.append("ann: known")
    watch.judge_again()
    assert status(observations) is InstanceStatus.GREEN
    silences.clear()
    watch.judge_again()
    assert status(observations) is InstanceStatus.RED
    assert len(engines.checked) == runs
    watch.changing("part0")
    silences.append("ann: known")
    watch.judge_again()
    assert status(observations) is InstanceStatus.RED, "what is being processed is not judged"


def test_a_promise_that_hangs_keeps_back_no_other_of_its_partition(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock, until: Any
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    operate(watch, clock)
    go = threading.Event()

    def hanging(folder: Path, mode: str, names: Sequence[str]) -> Iterator[Any]:
        if "b" in names:
            yield from engines.launch(folder, mode, ["a"])
            go.wait(30)
        engines.promises["part0"]["b"] = ("failed", "did not end")
        yield from engines.launch(folder, mode, ["b"] if "b" in names else names)

    watch._launch = hanging
    engines.promises["part0"]["a"] = ("failed", "down")
    assert watch.check("part0") == pytest.approx(60.0)
    assert [(item.name, item.status) for item in seen(observations).promises] == [("a", "failed"), ("b", "passed")]
    clock.now += 60.0
    watch.check("part0")
    assert engines.checked[-1] == ("part0", "anomaly", ("a",))
    go.set()
    until(lambda: {item.status for item in seen(observations).promises} == {"failed"})
    clock.now += 60.0
    watch._launch = engines.launch
    watch.check("part0")
    assert engines.checked[-1] == ("part0", "anomaly", ("a", "b"))


def test_many_promises_that_hang_are_awaited_ten_at_a_time(
    watch: PromiseWatch, engines: Any, clock: Clock, until: Any
) -> None:
    engines.promises["part0"] = {f"p{number}": ("passed", "") for number in range(20)}
    engines.timing = {name: Timing("", 60.0 + number) for number, name in enumerate(engines.promises["part0"])}
    operate(watch, clock)
    go = threading.Event()
    begun: list[Sequence[str]] = []

    def hanging(folder: Path, mode: str, names: Sequence[str]) -> Iterator[Any]:
        begun.append(names)
        yield []
        go.wait(30)
        yield from engines.launch(folder, mode, names)

    watch._launch = hanging
    for _ in range(40):
        clock.now += 1.0
        watch.check("part0")
    assert len(begun) == 10
    go.set()
    until(lambda: watch._watches["part0"].hanging == 0)
    watch.check("part0")
    assert len(begun) > 10


def test_what_is_broken_off_at_the_end_is_no_failure(
    watch: PromiseWatch, engines: Any, observations: Observations, clock: Clock
) -> None:
    engines.promises["part0"]["b"] = ("passed", "")
    operate(watch, clock)

    def broken_off(*_: Any) -> Any:
        watch.close()
        raise AllotmentError("the promise launcher was closed")

    watch._launch = broken_off
    watch.check("part0")
    assert status(observations) is InstanceStatus.GREEN
