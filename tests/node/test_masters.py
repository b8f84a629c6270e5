# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.errors import RefusedError, UnreachableError
from allotment.messages.desired_state import (
    InstanceStatus,
    ObservedInstance,
    ObservedSoftware,
    ObservedState,
    SoftwareStatus,
)
from allotment.messages.instance import InstancePublished
from allotment_node.backoff import Backoff
from allotment_node.documents import Changes, Documents
from allotment_node.masters import Masters, Poller, Reporter
from allotment_node.observations import Observations

Make = Callable[..., Any]


class Refusing:
    """A master that says no."""

    def desired(self, node: str, since: int, wait: float) -> None:
        raise RefusedError("the token is not known", "Register this node again", 401)


class Instant(threading.Event):
    """A stop event that notes how long it was waited on, and stops after ``most`` waits."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) >= self._most:
            self.set()
        return self.is_set()


def observed(status: InstanceStatus = InstanceStatus.GREEN) -> ObservedInstance:
    return ObservedInstance("part0", "inst-1", 1, status)


def test_the_next_master_is_asked_when_one_is_away(master: Any, document: Make, scratch: Path) -> None:
    away = type(master)()
    away.away = True
    masters = Masters([away, master])
    changes: list[Changes] = []
    poller = Poller(masters, "node-1", Documents(scratch, ["part0"]), changes.append, Backoff(1.0, 2.0))
    master.set(document())
    poller.once(0.0)
    assert changes == [Changes(("part0",), ())]
    away.away, master.away = False, True
    away.set(document(generation=2))
    away.sequence = 5
    poller.once(0.0)
    assert away.asked == [1]  # they share a database: the sequence goes on
    assert len(changes) == 2
    away.away = True
    with pytest.raises(UnreachableError):
        poller.once(0.0)


def test_a_master_that_is_away_is_asked_after_growing_delays(scratch: Path) -> None:
    away = Masters([type("Away", (), {"desired": lambda *_: (_ for _ in ()).throw(UnreachableError("away"))})()])
    poller = Poller(away, "n", Documents(scratch, []), lambda _: None, Backoff(1.0, 8.0, jitter=lambda: 0.0))
    stop = Instant(6)
    poller.run(stop)
    assert stop.waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_refusal_is_logged_once_with_its_fix(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    poller = Poller(Masters([Refusing()]), "n", Documents(scratch, []), lambda _: None, Backoff(1.0, 8.0))  # type: ignore[list-item]
    poller.run(Instant(3))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("the token is not known. Register this node again.")


def test_an_answer_that_could_not_be_stored_is_asked_for_again(master: Any, document: Make, scratch: Path) -> None:
    folder = scratch / "desired"
    poller = Poller(Masters([master]), "n", Documents(folder, ["part0"]), lambda _: None, Backoff(1.0, 2.0))
    master.set(document())
    folder.rename(scratch / "away")
    with pytest.raises(OSError, match="No such file"):
        poller.once(0.0)
    (scratch / "away").rename(folder)
    poller.once(0.0)
    assert master.asked == [0, 0]


def test_reports_are_kept_until_a_master_accepts_them(master: Any, scratch: Path) -> None:
    observations = Observations(scratch / "observed")
    reporter = Reporter(Masters([master]), "n", observations, Backoff(1.0, 2.0))
    observations.put_instance(observed())
    master.away = True
    with pytest.raises(UnreachableError):
        reporter.once(0.0)
    again = Observations(scratch / "observed")  # the agent was restarted meanwhile
    master.away = False
    Reporter(Masters([master]), "n", again, Backoff(1.0, 2.0)).once(0.0)
    assert master.reports == [ObservedState(instances=(observed(),))]
    assert again.wait(0.0) is None


class Strict:
    """A master that refuses what the real one refuses: reports that hold a NUL or are too large."""

    def __init__(self, limit: int = 4 << 20) -> None:
        self.reports: list[ObservedState] = []
        self._limit = limit

    def report(self, node: str, observed: ObservedState) -> None:
        data = dumps(observed)
        if b"\\u0000" in data or len(data) > self._limit:
            raise RefusedError("ObservedState can't be read", "Leave it out", 422)
        self.reports.append(observed)


def test_what_one_instance_published_keeps_no_other_from_being_reported(scratch: Path) -> None:
    observations = Observations(scratch / "observed")
    observations.put_instance(observed())
    bad = replace(observed(), partition="part1", published=InstancePublished({"url": "\0"}))
    observations.put_instance(bad)
    observations.put_software(ObservedSoftware("a" * 64, SoftwareStatus.FAILED, "make said \0"))
    strict = Strict()
    Reporter(Masters([strict]), "n", observations, Backoff(1.0, 2.0)).once(0.0)  # type: ignore[list-item]
    reason = "its report was refused: ObservedState can't be read. Leave it out."
    assert strict.reports == [
        ObservedState(software=(ObservedSoftware("a" * 64, SoftwareStatus.FAILED, reason),)),
        ObservedState(instances=(observed(),)),
        ObservedState(instances=(replace(bad, status=InstanceStatus.FAILED, error=reason, published=None),)),
    ]
    assert observations.wait(0.0) is None
    assert observations.instance("part1") == bad


def test_a_node_with_much_to_tell_sends_several_reports(scratch: Path) -> None:
    observations = Observations(scratch / "observed")
    for number in range(12):
        published = InstancePublished({"text": "x" * 500_000})
        observations.put_instance(replace(observed(), partition=f"part{number}", published=published))
    strict = Strict()
    Reporter(Masters([strict]), "n", observations, Backoff(1.0, 2.0)).once(0.0)  # type: ignore[list-item]
    assert max(len(dumps(report)) for report in strict.reports) < 2 << 20
    assert sum(len(report.instances) for report in strict.reports) == 12
    assert observations.wait(0.0) is None


def test_a_bug_ends_neither_polls_nor_reports(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def desired(self, *_: object) -> None:
            raise RecursionError("too deep")

        report = desired

    masters = Masters([Broken()])  # type: ignore[list-item]
    observations = Observations(scratch / "observed")
    observations.put_instance(observed())
    poller = Poller(masters, "n", Documents(scratch, []), lambda _: None, Backoff(1.0, 8.0))
    reporter = Reporter(masters, "n", observations, Backoff(1.0, 8.0))
    for loop in (poller, reporter):
        stop = Instant(3)
        loop.run(stop)
        assert len(stop.waits) == 3
    assert "Traceback" in caplog.text


def test_what_changed_while_it_was_sent_is_sent_again(scratch: Path) -> None:
    observations = Observations(scratch / "observed")
    observations.put_instance(observed())
    sent = observations.wait(0.0)
    assert sent is not None
    observations.put_instance(observed(InstanceStatus.RED))
    observations.accepted(sent)
    assert observations.wait(0.0) == ObservedState(instances=(observed(InstanceStatus.RED),))


def test_the_same_observation_is_not_reported_twice(scratch: Path) -> None:
    observations = Observations(scratch / "observed")
    observations.put_instance(observed())
    observations.accepted(observations.wait(0.0) or ObservedState())
    observations.put_instance(observed())
    assert observations.wait(0.0) is None


def test_delays_grow_to_the_most_and_are_shortened_by_up_to_a_half() -> None:
    plain = Backoff(1.0, 5.0, jitter=lambda: 0.0)
    assert [plain.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    plain.succeeded()
    assert plain.failed() == 1.0
    assert Backoff(1.0, 5.0, jitter=lambda: 1.0).failed() == 0.5
