# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
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
from allotment_promises.types.check_backup_freshness import _parse
from allotment_recipes.resilience.generations import Generation, name_at
from allotment_recipes.resilience.status import noted

Measure = Callable[..., Measurement]


def _noted(measure: Measure, **options: Any) -> Measurement:
    return measure("check_backup_freshness", status_file="srv/status.json", **options)


def _change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_what_the_backup_programs_note_is_judged(measure: Measure, tmp_path: Path) -> None:
    status = tmp_path / "srv/status.json"
    assert _noted(measure) == Measurement.failed("there is no whole backup yet")
    name = name_at(time.time() - 9000)
    with noted(status) as whole:
        assert _noted(measure).message == "there is no whole backup yet", "one is being made"
        whole(Generation(name, 7, 5 << 20))
    good = _noted(measure)
    assert good.is_passed
    assert good.message == f"{name}, the last whole backup, has 5.0 MiB and is 2.5 h old"
    assert good.metrics["age"].value == pytest.approx(9000, abs=100)
    assert good.metrics["size"].value == 5 << 20
    old = _noted(measure, maximum_age=7200)
    assert (old.is_passed, old.message) == (False, f"{good.message}, expected at most 2.0 h")
    small = _noted(measure, minimum_size="1G")
    assert (small.is_passed, small.message) == (False, f"{good.message}, expected at least 1.0 GiB")


def test_attempt_that_failed_or_never_ended_is_told(measure: Measure, tmp_path: Path) -> None:
    status = tmp_path / "srv/status.json"
    with noted(status) as whole:
        whole(Generation(name_at(time.time() - 60), 1, 1))
    with contextlib.suppress(AllotmentError), noted(status):
        assert _noted(measure).is_passed, "the next one is being made"
        raise AllotmentError("no space left", "Make room")
    failed = _noted(measure)
    assert not failed.is_passed
    assert failed.message.startswith("the last attempt failed: no space left. Make room.; ")
    assert set(failed.metrics) == {"age", "size"}
    _change(status, result="working", began=time.time() - 7 * 3600)
    killed = _noted(measure)
    assert not killed.is_passed
    assert killed.message.startswith("the last attempt was begun 7.0 h ago and has not ended; ")
    assert _noted(measure, maximum_duration=8 * 3600).is_passed
    _change(status, result="done", generation=name_at(time.time() + 86400))
    assert "comes from the future" in _noted(measure).message


def test_none_is_fine_while_backups_are_new(measure: Measure, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    asked.touch()
    assert _noted(measure, since="asked") == Measurement.passed("there is no whole backup yet")
    os.utime(asked, (time.time() - 200_000,) * 2)
    assert not _noted(measure, since="asked").is_passed
    asked.unlink()
    assert _noted(measure, since="asked").message == f"{asked} can't be examined: No such file or directory"


def _write(path: Path, age: float, size: int = 100) -> None:
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)


def test_newest_file_is_judged(measure: Measure, tmp_path: Path) -> None:
    _write(tmp_path / "monday.gz", 90_000)
    _write(tmp_path / "tuesday.gz", 9_000, 2048)
    found = measure("check_backup_freshness", files="*.gz")
    assert (found.is_passed, found.message) == (
        True,
        "tuesday.gz, the last whole backup, has 2.0 KiB and is 2.5 h old",
    )
    assert not measure("check_backup_freshness", files="*.gz", maximum_age=60).is_passed
    assert not measure("check_backup_freshness", files="*.gz", minimum_size="1M").is_passed
    assert measure("check_backup_freshness", files="*.xz") == Measurement.failed("there is no whole backup yet")


def test_marker_tells_which_files_are_whole(measure: Measure, tmp_path: Path) -> None:
    _write(tmp_path / "monday.gz", 90_000)
    _write(tmp_path / "tuesday.gz", 9_000)
    none = measure("check_backup_freshness", files="*.gz", marker="done")
    assert not none.is_passed
    assert none.message == "monday.gz was written 25.0 h ago, and done has not told of a success since"
    _write(tmp_path / "done", 89_999)
    found = measure("check_backup_freshness", files="*.gz", marker="done")
    assert (found.is_passed, found.message[:9]) == (True, "monday.gz"), "tuesday's is being made"
    late = measure("check_backup_freshness", files="*.gz", marker="done", maximum_duration=1800)
    assert not late.is_passed
    assert late.message.startswith("tuesday.gz was written 2.5 h ago, and done has not told of a success since; ")
    (tmp_path / "done").touch()
    found = measure("check_backup_freshness", files="*.gz", marker="done", maximum_duration=1800)
    assert (found.is_passed, found.message[:10]) == (True, "tuesday.gz")


def test_damaged_status_fails(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    status = tmp_path / "srv/status.json"
    status.write_text("[]")
    assert _noted(measure).message == ("srv/status.json is no status of a backup of format 1. Look what writes it.")
    fields = {"format": 1, "result": "done", "began": 1.0, "error": "", "generation": "x", "bytes": 1}
    status.write_text(json.dumps(fields))
    assert _noted(measure).message == ("srv/status.json: generation is 'x', which is no time. Look what writes it.")


@given(
    st.binary(max_size=50)
    | st.dictionaries(
        st.sampled_from(["format", "result", "began", "error", "generation", "bytes"]),
        st.none() | st.booleans() | st.integers(0, 2) | st.floats() | st.text(max_size=30),
    ).map(lambda fields: json.dumps({"format": 1, **fields}).encode())
)
def test_any_status_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(AllotmentError):
        assert isinstance(_parse(data, Path("status.json"))["generation"], str)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "status-file, files: none of them is given. Give one of them."),
        (
            {"status_file": "x", "marker": "y"},
            "marker, files: marker is of no use without files. Say which files the backups are.",
        ),
        ({"files": "x", "minimum_size": "5 %"}, "minimum-size: '5 %' is a share. Write it like 100M."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_backup_freshness", **options)
    assert str(caught.value) == message
