# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from allotment_promises import GenericPromise, Measurement

MakePromise = Callable[..., GenericPromise[Any]]


def _judge(promise: GenericPromise[Any], past: list[float]) -> Measurement:
    """Judge a run that comes an hour after the last of ``past``, one an hour."""
    now = time.time()
    promise.series = lambda metric, seconds: [
        (now - 3600.0 * (len(past) - at), size) for at, size in enumerate(past) if metric == "size"
    ]
    return promise.anomaly([replace(promise.sense(), time=now)])


def test_size_is_what_du_says(make_promise: MakePromise, tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "deep/er/file", tmp_path / "again")
    (tmp_path / "link").symlink_to("/usr")
    measured = make_promise("monitor_partition_space").sense()
    told = subprocess.run(["du", "-s", "--block-size=1", str(tmp_path)], capture_output=True, check=True, text=True)
    assert measured.metrics["size"].value == int(told.stdout.split()[0])
    assert measured.is_passed


def test_only_unusual_growth_is_broken(make_promise: MakePromise, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * (10 << 20))
    promise = make_promise("monitor_partition_space")
    size = promise.sense().metrics["size"].value
    slow = [size / 2 - step * 4096 for step in range(30, 0, -1)]
    judged = _judge(promise, slow)
    assert not judged.is_passed
    assert judged.message == (
        f"{tmp_path} takes 10.0 MiB: grew by 5.0 MiB (100 %) in 60.0 min, expected at most 8 % or what is usual"
    )
    assert _judge(promise, [size - step * 4096 for step in range(30, 0, -1)]).is_passed
    usual = [size / 2 if step % 2 else size for step in range(30)]  # ends at half: doubling is a habit
    assert _judge(promise, usual).is_passed
    assert _judge(promise, [size / 2]).is_passed, "one measurement shows no habit"
    assert _judge(promise, []).is_passed
    assert _judge(make_promise("monitor_partition_space", threshold_ratio=1.5), slow).is_passed


def test_folder_that_can_not_be_measured_fails(make_promise: MakePromise, tmp_path: Path) -> None:
    measured = make_promise("monitor_partition_space", path="gone").sense()
    assert measured == Measurement.failed(f"{tmp_path / 'gone'} can't be examined: No such file or directory")
    short = make_promise("monitor_partition_space", timeout=1e-9)
    assert short.anomaly([short.sense()]) == Measurement.failed(
        f"{tmp_path} has more files than can be looked at within 1e-09 s"
    )


def test_files_that_come_and_go_do_no_harm(make_promise: MakePromise, tmp_path: Path) -> None:
    churn = "i=0; while :; do mkdir -p d$i && touch d$i/f && rm -r d$i; i=$(((i + 1) % 50)); done"
    process = subprocess.Popen(["sh", "-c", churn], cwd=tmp_path)
    try:
        promise = make_promise("monitor_partition_space")
        assert all(promise.sense().is_passed for _ in range(200))
    finally:
        process.kill()
        process.wait()
