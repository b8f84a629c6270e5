# SPDX-License-Identifier: Apache-2.0
"""Types that look at their own past, run by the launcher with the history that it keeps."""

import shutil
from collections.abc import Callable
from pathlib import Path

from allotment_promises.launcher import Launcher

Write = Callable[..., Path]


def _message(launcher: Launcher, partition: Path) -> str:
    (result,) = launcher.run(partition, "anomaly")
    assert result.status == "passed", result.message
    return result.message


def test_configuration_is_checked_once_while_it_stays(launcher: Launcher, partition: Path, promise: Write) -> None:
    (partition / "etc/program.conf").write_text("a=1\n")
    command = ["sh", "-c", "echo run >> runs; sh -n etc/program.conf"]
    promise("config", type="check_config_valid", command=command, files="etc/*.conf")
    assert _message(launcher, partition) == "sh accepts 1 file"
    assert _message(launcher, partition) == "sh has accepted 1 file, unchanged since"
    (partition / "etc/program.conf").write_text("a=2\n")
    assert _message(launcher, partition) == "sh accepts 1 file"
    assert _message(launcher, partition) == "sh has accepted 1 file, unchanged since"
    assert (partition / "runs").read_text() == "run\n" * 2
    shutil.rmtree(partition / ".allotment")
    assert _message(launcher, partition) == "sh accepts 1 file", "without a past it is checked"


def test_counters_are_compared_with_those_of_the_last_run(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("transit", type="check_network_transit", ifname="lo")
    assert _message(launcher, partition) == "interface lo: not counted before, nothing to compare with"
    assert _message(launcher, partition).startswith("interface lo carried ")


def test_growth_of_a_partition_is_watched_from_run_to_run(launcher: Launcher, partition: Path, promise: Write) -> None:
    (partition / "data").write_bytes(b"x" * 1_000_000)
    promise("space", type="monitor_partition_space")
    for step in range(12):  # it may take a habit to be known
        (partition / f"log{step}").write_bytes(b"x" * 5_000)
        _message(launcher, partition)
    (partition / "dump").write_bytes(b"x" * 5_000_000)
    (result,) = launcher.run(partition, "anomaly")
    assert result.status == "failed"
    assert "grew by 4." in result.message
    (result,) = launcher.run(partition, "anomaly")
    assert result.status == "passed", "it does not go on"
