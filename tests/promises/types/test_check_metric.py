# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import configparser
import dataclasses
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem
from allotment.plugins import load, plugins
from allotment.secret import Secret
from allotment_promises import GenericPromise, Layer, Measurement
from allotment_promises.catalogue import Promise
from allotment_promises.registry import PromiseTypes
from allotment_promises.types import check_metric

Make = Callable[..., GenericPromise[Any]]
NOW = 1.8e9


@pytest.fixture
def judge(make_promise: Make, tmp_path: Path) -> Callable[..., Measurement]:
    """Measure the time of a program and judge it as if it had been ``value``, after those of ``past``, a minute apart."""

    def run(value: float, past: Sequence[float], **options: Any) -> Measurement:
        options = {"sensor": "check_command_execute", "sensor-command": "true", "metric": "seconds", **options}
        promise = make_promise("check_metric", **options)
        points = [(NOW - 60.0 * (len(past) - at), item) for at, item in enumerate(past)]
        promise.series = lambda metric, seconds: [
            point for point in points if metric == "seconds" and point[0] >= NOW - seconds
        ]
        measured = promise.sense()
        metric = dataclasses.replace(measured.metrics["seconds"], value=value)
        (low, high) = (promise.options.minimum, promise.options.maximum)
        is_passed = (low is None or value >= low) and (high is None or value <= high)
        newest = Measurement(is_passed, measured.message, {"seconds": metric}, NOW)
        marks = [Measurement(high is None or item <= high, "", time=time) for time, item in points]
        return promise.anomaly([*marks, newest][-promise.window :])

    return run


def test_a_metric_of_another_type_is_judged_by_limits(measure: Callable[..., Measurement]) -> None:
    options = {"sensor": "check_command_execute", "sensor_command": "false", "metric": "seconds"}
    measured = measure("check_metric", **options, maximum=5)
    assert measured.is_passed, "the sensor's own verdict does not count"
    assert measured.message.endswith(" s: false ended with exit code 1")
    assert measured.message.startswith("seconds is 0.0")
    assert measured.metrics["seconds"].unit == "s"
    measured = measure("check_metric", **options, minimum=5)
    assert not measured.is_passed
    assert ", expected at least 5: false ended with" in measured.message
    assert ", expected 5 to 7: " in measure("check_metric", **options, minimum=5, maximum=7).message


def test_a_plugin_of_nagios_is_a_sensor(measure: Callable[..., Measurement]) -> None:
    command = ["sh", "-c", "echo 'DISK WARNING | used=90%;80;95'; exit 1"]
    options = {"sensor": "check_command_execute", "sensor_command": command, "metric": "used"}
    assert measure("check_metric", **options, maximum=0.95).is_passed
    full = measure("check_metric", **options, maximum=0.85)
    assert full.message == "used is 0.9, expected at most 0.85: sh ended with exit code 1: DISK WARNING"


def test_a_sensor_that_measures_nothing_fails(measure: Callable[..., Measurement], free_port: int) -> None:
    options = {"sensor": "check_socket_listening", "sensor_host": "127.0.0.1", "sensor_port": free_port}
    measured = measure("check_metric", **options, metric="seconds", maximum=1)
    assert (measured.is_passed, measured.message) == (
        False,
        f"check_socket_listening did not measure seconds, but none: 127.0.0.1:{free_port}: [Errno 111] Connection refused",
    )


def test_it_stands_where_its_sensor_stands(make_promise: Make, tmp_path: Path) -> None:
    options = {"sensor": "check_socket_listening", "sensor-host": "host", "sensor-port": "80"}
    promise = make_promise("check_metric", **options, metric="seconds", maximum=1)
    assert promise.target() == "host:80"
    file = PromiseFile("check_metric", {**options, "metric": "seconds", "maximum": 1})
    types = PromiseTypes(plugins())
    assert types.traits(Promise("quick", tmp_path / "quick.json", file)).layer is Layer.PORT
    wrong = PromiseFile("check_metric", {"sensor": ["check_socket_listening"]})
    assert types.traits(Promise("wrong", tmp_path / "wrong.json", wrong)).layer is Layer.APPLICATION


def test_its_sensor_knows_what_it_measured_before(make_promise: Make) -> None:
    options = {"sensor": "check_network_transit", "sensor-transit-period": "3600", "metric": "carried", "minimum": 0}
    promise = make_promise("check_metric", **options)
    promise.series = lambda metric, seconds: asked.append((metric, seconds)) or ()
    asked: list[tuple[str, float]] = []
    promise.sense()
    assert asked


def test_a_promise_file_composes_it(tmp_path: Path) -> None:
    options = {"sensor": "check_command_execute", "sensor-command": ["true"], "metric": "seconds", "maximum": "9"}
    file = PromiseFile("check_metric", json.loads(json.dumps(options)))
    promise = PromiseTypes(plugins()).make(Promise("quick", tmp_path / "quick.json", file), tmp_path)
    assert promise.sense().is_passed


def test_failures_without_a_break_are_counted_by_time(judge: Callable[..., Measurement]) -> None:
    options = {"detector": "sustained", "seconds": 600, "maximum": 10}
    assert judge(20, [1, *[20] * 9], **options).is_passed
    assert not judge(20, [1, *[20] * 10], **options).is_passed
    assert judge(1, [20] * 20, **options).is_passed
    assert judge(20, [*[20] * 10, 1, 20], **options).message.startswith("failed for 60 s, tolerated below 600 s: ")


def test_a_trend_is_broken_before_the_limit_is_reached(judge: Callable[..., Measurement]) -> None:
    options = {"detector": "forecast", "horizon": 7200, "maximum": 100}
    rising = [0.5 * at for at in range(120)]
    found = judge(60, rising, **options)
    assert not found.is_passed
    assert found.message.startswith("the trend of seconds reaches 100 in 80.0 min, expected not within 2.0 h: ")
    assert judge(60, rising, **{**options, "horizon": 3600}).is_passed
    assert judge(30, [30] * 120, **options).is_passed
    assert judge(110, [30] * 120, **options).is_passed, "beyond the limit, failures are counted"
    assert not judge(110, [*[30] * 120, 110], **options).is_passed
    assert not judge(60, [119 - item for item in rising], **{**options, "minimum": 10}).is_passed


def test_an_unusual_value_needs_no_limit(judge: Callable[..., Measurement]) -> None:
    chance = random.Random(1)
    usual = [chance.gauss(50, 1) for _ in range(100)]
    assert judge(51, usual, detector="outlier").is_passed
    once = judge(90, usual, detector="outlier")
    assert once.is_passed, "one is counted as one failed run"
    assert once.message.startswith("failed 1 of 3 times, tolerated below 2: seconds is +")
    twice = judge(10, [*usual, 90], detector="outlier")
    assert not twice.is_passed
    assert "deviations from its median, expected at most 5: " in twice.message
    assert judge(90, usual[:3], detector="outlier").is_passed, "too short a past"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensor": "check_x", "maximum": 1}, "sensor: unknown promise type 'check_x'. "),
        (
            {"sensor": "check_metric", "maximum": 1},
            "sensor: check_metric itself measures nothing. Name the promise type that does.",
        ),
        ({}, "minimum, maximum: none of them is given. Give one of them, or both."),
        ({"minimum": 2, "maximum": 1}, "minimum, maximum: 2 is above 1. Exchange them."),
        ({"maximum": 1, "sensor-command": ""}, "sensor-command: is empty. Write a program and its arguments."),
        ({"maximum": 1, "sensor-comand": "x"}, "sensor-comand: unknown option. Did you mean 'command'? "),
        ({"maximum": 1, "detector": "outlier", "deviations": 0}, "deviations: 0 is not above zero. Write it like 5."),
    ],
)
def test_options_are_checked_early(make_promise: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise(
            "check_metric",
            **{"sensor": "check_command_execute", "sensor-command": "true", "metric": "seconds", **options},
        )
    assert str(caught.value).startswith(message)


def test_a_secret_reaches_the_sensor_and_nobody_else(make_promise: Make) -> None:
    options = {
        "sensor": "check_url_available",
        "sensor-url": "http://h/",
        "sensor-username": "me",
        "sensor-password": Secret("planted"),
    }
    promise = make_promise("check_metric", **options, metric="seconds", maximum=1)
    assert "planted" not in repr(promise.options)


def test_the_examples_of_the_how_to_are_right(make_promise: Make) -> None:
    page = (Path(__file__).parents[3] / "docs/howto/judge-a-metric.md").read_text()
    detectors = set()
    for text in re.findall(r"^```ini\n(.*?)^```$", page, re.S | re.M):
        values = re.sub(r"\$\{[^}]*\}", "host", re.sub(r"\$\{[^}]*port\}", "80", text.replace("<= promise\n", "")))
        profile = configparser.RawConfigParser(delimiters="=")
        profile.read_string(values)
        (section,) = map(profile.__getitem__, profile.sections())
        promise = section.pop("promise")
        options = make_promise(
            promise, **{key.removeprefix("config-"): value for key, value in section.items()}
        ).options
        detectors.add(options.detector)
        told = str(load(check_metric._targets()[options.sensor]).__doc__).partition("Metrics: ")[2]
        assert f"``{options.metric}``" in told or options.sensor == "check_command_execute"
    assert detectors == {"count", "forecast", "outlier"}
