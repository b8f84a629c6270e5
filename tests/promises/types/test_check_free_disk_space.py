# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

DAY = 86400.0
Measure = Callable[..., Measurement]
MakePromise = Callable[..., GenericPromise[Any]]


def test_disk_that_fills_fails_and_recovers(measure: Measure, make_small_disk: Any, tmp_path: Path) -> None:
    disk = make_small_disk(tmp_path / "disk", "4m")
    measured = measure("check_free_disk_space", path=str(disk.outside), threshold="1M", inode_threshold=0)
    assert measured.is_passed
    assert measured.message.startswith(f"4.0 MiB of 4.0 MiB free at {disk.outside}, ")
    assert (measured.metrics["free"].value, measured.metrics["free"].unit) == (4 << 20, "B")
    assert (measured.metrics["free_ratio"].value, measured.metrics["free_ratio"].unit) == (1.0, "1")
    disk.fill()
    full = measure("check_free_disk_space", path=str(disk.outside), threshold="10 %", inode_threshold=0)
    assert full.message == f"0 B of 4.0 MiB free at {disk.outside}, expected at least 10 %"
    assert not full.is_passed
    disk.relieve()
    assert measure("check_free_disk_space", path=str(disk.outside), threshold="10 %", inode_threshold=0).is_passed


def test_disk_without_inodes_fails(measure: Measure, make_small_disk: Any, tmp_path: Path) -> None:
    disk = make_small_disk(tmp_path / "disk", "4m,nr_inodes=40")
    assert measure("check_free_disk_space", path=str(disk.outside), inode_threshold="20").is_passed
    for number in range(30):
        (disk.outside / f"file{number}").touch()
    measured = measure("check_free_disk_space", path=str(disk.outside), inode_threshold="20")
    assert not measured.is_passed
    assert measured.message == f"9 of 40 inodes free at {disk.outside}, expected at least 20"
    assert measured.metrics["free_inodes"].value == 9
    assert measure("check_free_disk_space", path=str(disk.outside), inode_threshold="0").is_passed


def test_disk_that_is_not_mounted_or_read_only_fails(
    measure_inside: Callable[..., list[Measurement]], tmp_path: Path
) -> None:
    def judge(setup: str, **options: Any) -> tuple[bool, str]:
        (found,) = measure_inside("--mount", setup, "check_free_disk_space", path="disk", threshold="0", **options)
        return found.is_passed, found.message

    disk = tmp_path / "disk"
    expected = f"{disk} is no mount point, expected a disk to be mounted there"
    assert judge("mkdir disk", mounted=True) == (False, expected)
    assert judge("true")[0]
    assert judge("mount -t tmpfs tmpfs disk", mounted=True)[0]
    expected = f"{disk} is mounted read-only, expected to be able to write to it"
    assert judge("mount -t tmpfs -o ro tmpfs disk", mounted=True) == (False, expected)
    assert judge("mount -t tmpfs -o ro tmpfs disk")[0]


def test_path_that_is_not_there_fails(measure: Measure, tmp_path: Path) -> None:
    measured = measure("check_free_disk_space", path="gone")
    assert measured == Measurement.failed(f"{tmp_path / 'gone'} can't be examined: No such file or directory")


def _operate(promise: GenericPromise[Any], past: Sequence[tuple[float, float]]) -> Measurement:
    promise.series = lambda metric, seconds: past if metric == "free" else ()
    newest = replace(promise.sense(), time=time.time())
    assert newest.is_passed
    return promise.anomaly([newest])


def test_trend_that_fills_the_disk_soon_is_broken_in_operation(make_promise: MakePromise) -> None:
    promise = make_promise("check_free_disk_space", threshold="0", inode_threshold="0", nb_days_predicted=5)
    now, free = time.time(), promise.sense().metrics["free"].value
    losing = [(now - hours * 3600.0, free * (1 + hours / 72)) for hours in range(48, 0, -1)]
    judged = _operate(promise, losing)
    assert not judged.is_passed
    assert judged.message.startswith("the trend leaves no space in 3.0 days, expected not within 5: ")
    assert promise.test(promise.sense()).is_passed  # right after a deployment the trend is not its fault
    steady = [(at, free) for at, _ in losing]
    assert _operate(promise, steady).is_passed
    later = make_promise("check_free_disk_space", threshold="0", inode_threshold="0", nb_days_predicted=2)
    assert _operate(later, losing).is_passed
    never = make_promise("check_free_disk_space", threshold="0", inode_threshold="0", nb_days_predicted=0)
    assert _operate(never, losing).is_passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "5"}, "threshold: '5' has no unit. Write it like 5M or 5G."),
        ({"inode_threshold": "x"}, "inode-threshold: 'x' is no amount. Write it like 1000 or 10 %."),
        ({"nb_days_predicted": -1}, "nb-days-predicted: -1 is below zero. Write 0 or more."),
    ],
)
def test_options_are_checked_early(make_promise: MakePromise, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_free_disk_space", **options)
    assert str(caught.value) == message
