# SPDX-License-Identifier: Apache-2.0
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement
from allotment_promises.sensing.checksums import compare

Measure = Callable[..., Measurement]
NAMES = ["plain", "with space", "back\\slash", "line\nend", "deep/er"]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """An archive of some files, and beside it the list that sha256sum wrote of them."""
    for name in NAMES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    (tmp_path / "data/deep").chmod(0o555)
    subprocess.run(["tar", "-czf", "../backup.tar.gz", "."], cwd=tmp_path / "data", check=True)
    sums = subprocess.run(["sha256sum", *NAMES], cwd=tmp_path / "data", check=True, capture_output=True)
    (tmp_path / "SHA256SUMS").write_bytes(sums.stdout)
    return tmp_path / "backup.tar.gz"


def _check(measure: Measure, backup: Path, **options: Any) -> Measurement:
    return measure("check_backup_restorable", **{"command": f"tar -xzf {backup}", "checksums": "SHA256SUMS", **options})


def test_whole_backup_is_restored_and_removed_again(measure: Measure, backup: Path, tmp_path: Path) -> None:
    measured = _check(measure, backup, verify="grep -q plain plain")
    size = sum(len(name) * 1000 for name in NAMES)
    assert measured.is_passed
    assert measured.message == f"restored 5 files of {size / 1024:.1f} KiB with the right checksums and verified"
    assert (measured.metrics["files"].value, measured.metrics["size"].value) == (5, size)
    assert measured.metrics["restore_seconds"].unit == "s"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_damaged_backup_fails(measure: Measure, backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: len(whole) // 2])
    damaged = _check(measure, backup)
    assert not damaged.is_passed
    assert damaged.message.startswith("restoring failed: tar ended with exit code ")
    (tmp_path / "data/plain").write_text("changed")
    subprocess.run(["tar", "-czf", str(backup), "."], cwd=tmp_path / "data", check=True)
    assert _check(measure, backup).message == "restored, but 'plain' is another file than its checksum tells"
    (tmp_path / "data/plain").unlink()
    subprocess.run(["tar", "-czf", str(backup), "."], cwd=tmp_path / "data", check=True)
    assert _check(measure, backup).message == "restored, but 'plain' is not there as it was: No such file or directory"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_link_in_place_of_a_file_is_not_followed(measure: Measure, backup: Path) -> None:
    swap = f"tar -xzf {backup}; mv plain other; ln -s other plain"
    measured = _check(measure, backup, command=["sh", "-c", swap])
    assert not measured.is_passed
    assert measured.message.startswith("restored, but 'plain' is not there as it was: ")


def test_verifying_program_decides(measure: Measure, backup: Path) -> None:
    refused = _check(measure, backup, verify=["sh", "-c", "echo no users; exit 1"])
    assert not refused.is_passed
    assert refused.message.endswith("checksums, but verifying failed: sh ended with exit code 1: no users")
    without = measure("check_backup_restorable", command=f"tar -xzf {backup}", verify="test -f plain")
    assert without.message == "restored and verified"
    gone = _check(measure, backup, command="no-such-program")
    assert gone == Measurement.failed("no-such-program can't be started: No such file or directory")


def test_time_is_limited_and_nothing_is_left(measure: Measure, backup: Path, tmp_path: Path) -> None:
    late = _check(measure, backup, command="sleep 300", timeout=0.2)
    assert late == Measurement.failed("restoring failed: sleep did not end within 0.2 s")
    leftover = tmp_path / "tmp/.restored-name-killed/deep"
    leftover.mkdir(parents=True)
    leftover.chmod(0o555)
    assert _check(measure, backup).is_passed
    assert list((tmp_path / "tmp").iterdir()) == []


def test_folders_without_permissions_are_removed_too(measure: Measure, backup: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    closed = "mkdir -p closed/deep; touch closed/deep/file; chmod 0 closed/deep closed"
    odd = f"tar -xzf {backup}; {closed}; ln -s {outside} link"
    assert _check(measure, backup, command=["sh", "-c", odd]).is_passed
    assert list((tmp_path / "tmp").iterdir()) == []
    assert outside.stat().st_mode & 0o777 == 0o500


def test_full_disk_fails_and_leaves_nothing(
    measure: Measure, backup: Path, make_small_disk: Any, tmp_path: Path
) -> None:
    disk = make_small_disk(tmp_path / "disk", "64k")
    disk.fill()
    measured = _check(measure, backup, folder=str(disk.outside))
    assert not measured.is_passed
    assert "No space left on device" in measured.message
    disk.relieve()
    assert list(disk.outside.iterdir()) == []


def test_lists_that_lead_elsewhere_are_refused(measure: Measure, backup: Path, tmp_path: Path) -> None:
    for line in (f"{'0' * 64}  /etc/passwd\n", f"{'0' * 64}  a/../../b\n"):
        (tmp_path / "SHA256SUMS").write_text(line)
        assert _check(measure, backup).message.endswith("line 1 leads out of the folder. Look what writes it.")
    (tmp_path / "SHA256SUMS").write_text("x\n")
    assert _check(measure, backup).message.endswith("line 1 is not one of sha256sum. Look what writes it.")
    (tmp_path / "SHA256SUMS").write_text("")
    assert _check(measure, backup).message == "restored, but SHA256SUMS names no file"
    (tmp_path / "SHA256SUMS").unlink()
    assert _check(measure, backup).message == f"{tmp_path}/SHA256SUMS: No such file or directory"


@given(st.binary(max_size=120) | st.binary(max_size=40).map(lambda name: b"0" * 64 + b"  " + name + b"\n"))
def test_any_list_is_compared_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("sums")
    (folder / "sums").write_bytes(data)
    try:
        assert compare(folder / "sums", folder / "gone", time.monotonic() + 60).files == 0
    except AllotmentError as error:
        assert "line " in error.what


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_backup_restorable", command="true")
    assert str(caught.value) == "checksums, verify: none of them is given. Give one of them, or both."
