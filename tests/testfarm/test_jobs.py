# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError, MachineError
from allotment.messages.job import CaseOutcome, Job, Outcome, TestCase
from allotment.messages.manifest import Blob, ReleaseManifest
from allotment.secret import Secret
from allotment_testfarm import jobs
from allotment_testfarm.jobs import InfrastructureError, JobContext, ReportFolder
from allotment_testfarm.wire import StepReport

GOOD = TestCase("suite", "good", CaseOutcome.PASSED)
BAD = TestCase("suite", "bad", CaseOutcome.FAILED)


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    (tmp_path / "report").mkdir()
    job = Job(1, "demo", "0" * 40, "hello", "software/hello/software.cfg")
    return JobContext(job, tmp_path / "source", tmp_path, tmp_path / "sources", ReportFolder(tmp_path / "report"))


def told(context: JobContext) -> list[tuple[str, Outcome | None]]:
    report = loads(StepReport, context.report.steps.read_bytes())
    return [(step.name, step.outcome) for step in report.steps]


def test_running_step_is_told_at_once(context: JobContext) -> None:
    with context.step("build"):
        assert told(context) == [("build", None)]
    assert told(context) == [("build", Outcome.PASSED)]


def test_steps_inside_steps_keep_their_ends(context: JobContext) -> None:
    with context.step("outer"), context.step("inner"):
        context.fail("no")
    assert told(context) == [("outer", Outcome.FAILED), ("inner", Outcome.FAILED)]


def test_job_without_complaint_passes(context: JobContext) -> None:
    context.add_cases([GOOD])
    result = context.finish()
    assert (result.outcome, result.reason, result.cases) == (Outcome.PASSED, "", (GOOD,))


def test_failed_case_fails_its_step_and_the_job(context: JobContext) -> None:
    with context.step("test"):
        context.add_cases([GOOD, BAD])
    assert told(context) == [("test", Outcome.FAILED)]
    result = context.finish()
    assert (result.outcome, result.reason) == (Outcome.FAILED, "1 of 2 test cases failed: suite bad")


def test_case_that_failed_on_a_full_disk_says_nothing(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.add_cases([BAD])
    assert context.finish().outcome is Outcome.FAILED
    monkeypatch.setattr(jobs, "_LITTLE_DISK", shutil.disk_usage(tmp_path).total)
    result = context.finish()
    assert (result.outcome, result.reason) == (
        Outcome.INFRASTRUCTURE,
        "the disk is full: 1 of 1 test cases failed: suite bad",
    )


def test_first_reason_is_shown(context: JobContext) -> None:
    context.fail("first")
    context.fail("second")
    assert context.finish().reason == "first"


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (AllotmentError("bad profile", "Mend it"), Outcome.FAILED, "bad profile. Mend it."),
        (InfrastructureError("no master"), Outcome.INFRASTRUCTURE, "no master."),
        (MachineError("no gcc", "Install it"), Outcome.INFRASTRUCTURE, "no gcc. Install it."),
        (
            AllotmentError("the node can't install it: cp: x: No space left on device", ""),
            Outcome.INFRASTRUCTURE,
            "the node can't install it: cp: x: No space left on device.",
        ),
        (OSError(28, "No space left on device"), Outcome.INFRASTRUCTURE, "[Errno 28] No space left on device"),
        (MemoryError(), Outcome.INFRASTRUCTURE, "MemoryError"),
        (AllotmentError("one line\nand a log", ""), Outcome.FAILED, "one line"),
    ],
)
def test_exception_decides_the_outcome(context: JobContext, error: Exception, outcome: Outcome, reason: str) -> None:
    with pytest.raises(type(error)), context.step("build"):
        raise error
    assert told(context) == [("build", outcome)]
    result = context.finish(error)
    assert (result.outcome, result.reason) == (outcome, reason)


def test_manifest_is_offered_only_when_the_job_passes(context: JobContext, tmp_path: Path) -> None:
    closure = tmp_path / "closure"
    closure.write_bytes(b"archive")
    blob = Blob(hashlib.sha256(b"archive").hexdigest(), 7)
    context.offer(ReleaseManifest("hello", "software.cfg", blob, {}, {}), closure)
    manifest = context.finish().manifest
    assert manifest is not None
    assert manifest.name == "hello"
    assert context.report.closure.read_bytes() == b"archive"
    context.fail("no")
    assert context.finish().manifest is None


def test_characters_that_a_database_refuses_are_replaced(context: JobContext) -> None:
    with context.step("a\0b"):
        context.add_cases([TestCase("\ud800", "name", CaseOutcome.PASSED, 0.0, "x\0")])
    context.fail("bad \udcff name")
    result = context.finish()
    assert (result.steps[0].name, result.reason) == ("a?b", "bad ? name")
    assert (result.cases[0].suite, result.cases[0].message) == ("?", "x?")


def test_hidden_values_are_listed_for_the_test_node(context: JobContext) -> None:
    context.hide(["plain", Secret("wrapped")])
    context.hide({"more\nlines"})
    lines = context.report.secrets.read_text().splitlines()
    assert [json.loads(line) for line in lines] == ["plain", "wrapped", "more\nlines"]


def test_what_is_said_is_the_log(context: JobContext, capsys: pytest.CaptureFixture[str]) -> None:
    with context.step("build"):
        context.say("working")
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["== build", "working"]
    assert out[2].startswith("== build: passed after ")
