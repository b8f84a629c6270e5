# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

MakePromise = Callable[..., GenericPromise[Any]]
# a program that is as strict as visudo and tells how often it was run
CHECK = """#!/bin/sh
echo run >> runs
for file in etc/*.conf; do
    sh -n "$file" || exit 1
done
"""


class History:
    """Runs a promise again and again, with what it measured before, an hour between two runs."""

    def __init__(self, promise: GenericPromise[Any]) -> None:
        self._promise = promise
        self._past: list[Measurement] = []
        promise.series = self._series

    def _series(self, metric: str, seconds: float) -> list[tuple[float, float]]:
        now = time.time()
        times = [(now - 3600 * (len(self._past) - at), item) for at, item in enumerate(self._past)]
        return [
            (at, item.metrics[metric].value) for at, item in times if metric in item.metrics and at >= now - seconds
        ]

    def run(self) -> Measurement:
        measured = self._promise.sense()
        self._past.append(measured)
        return self._promise.anomaly([measured])


@pytest.fixture
def history(make_promise: MakePromise, tmp_path: Path) -> History:
    (tmp_path / "check").write_text(CHECK)
    (tmp_path / "check").chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a.conf").write_text("a=1\n")
    options = {"command": [str(tmp_path / "check")], "files": "etc/*.conf", "again_after": 5 * 3600 + 60}
    return History(make_promise("check_config_valid", **options))


def test_it_is_checked_only_when_something_changed(history: History, tmp_path: Path) -> None:
    def runs() -> int:
        return len((tmp_path / "runs").read_text().splitlines())

    check = tmp_path / "check"
    assert history.run().message == f"{check} accepts 1 file"
    assert [history.run().message for _ in range(3)] == [f"{check} has accepted 1 file, unchanged since"] * 3
    assert runs() == 1
    (tmp_path / "etc/b.conf").write_text("if\n")
    refused = history.run()
    assert not refused.is_passed
    assert refused.message.startswith(f"{check} refuses the configuration: it ended with exit code 1: etc/b.conf: ")
    assert not history.run().is_passed
    assert runs() == 3, "what failed is looked at each time: the message is wanted"
    (tmp_path / "etc/b.conf").write_text("b=1\n")
    assert history.run().is_passed
    (tmp_path / "etc/b.conf").unlink()
    assert history.run().message == f"{check} accepts 1 file"
    assert runs() == 5


def test_it_is_checked_again_now_and_then(history: History, tmp_path: Path) -> None:
    for _ in range(13):
        assert history.run().is_passed
    assert len((tmp_path / "runs").read_text().splitlines()) == 3


def test_what_can_not_be_checked_fails(make_promise: MakePromise, tmp_path: Path) -> None:
    none = make_promise("check_config_valid", command="true", files="etc/*.conf").sense()
    assert none == Measurement.failed("no file is etc/*.conf, expected at least one")
    (tmp_path / "x").touch()
    gone = make_promise("check_config_valid", command="no-such-program", files="x").sense()
    assert gone == Measurement.failed("no-such-program can't be started: No such file or directory")
    late = make_promise("check_config_valid", command="sleep 300", files="x", timeout=0.1).sense()
    assert late.message == "sleep refuses the configuration: it did not end within 0.1 s"


def test_options_are_checked_early(make_promise: MakePromise) -> None:
    with pytest.raises(OptionProblem, match="files: names none"):
        make_promise("check_config_valid", command="true", files="")
