# SPDX-License-Identifier: Apache-2.0
"""What a farm job is given, and how it reports: the contract between the test node and job kinds of any plugin."""

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment.codec import canonical, decode, encode
from allotment.errors import AllotmentError, MachineError
from allotment.messages.job import BuiltPart, CaseOutcome, Job, KeptPromise, Outcome, Step, TestCase
from allotment.messages.manifest import ReleaseManifest
from allotment.secret import Secret
from allotment_testfarm.wire import JobResult, StepReport

_DISK_WORDS: Final = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO))
_LITTLE_DISK: Final = 16 << 20  # bytes; who fails with no more of them has had too few


class InfrastructureError(MachineError):
    """The test node could not do its part: this says nothing about the software, and another attempt may mend it."""


@dataclass(frozen=True)
class ReportFolder:
    """The files through which a job process tells what it does; the test node reads them and believes nothing else.

    Every file is written whole. The process may die at any moment: what it has told by then stands.
    """

    folder: Path

    @property
    def job(self) -> Path:
        """The job, written by the test node."""
        return self.folder / "job.json"

    @property
    def caches(self) -> Path:
        """The binary caches that the job may take parts from, written by the test node where there are any."""
        return self.folder / "caches.json"

    @property
    def steps(self) -> Path:
        """All steps and parts so far."""
        return self.folder / "steps.json"

    @property
    def secrets(self) -> Path:
        """Values that must not leave this machine, one JSON string a line; any process of the job may append."""
        return self.folder / "secrets.jsonl"

    @property
    def result(self) -> Path:
        """The end."""
        return self.folder / "result.json"

    @property
    def closure(self) -> Path:
        """The archive that the manifest in the result names."""
        return self.folder / "closure"


class JobContext:
    """One attempt at a job, from inside: its inputs, its folders, and the functions by which it reports.

    A job kind's function gets it as its only argument, on the main thread of a process of its own. What it prints is
    the job's log. It passes unless it calls :meth:`fail`, reports a failed case, or raises: a MachineError, what
    is no AllotmentError, and a full disk give ``infrastructure``, another AllotmentError gives ``failed``.
    """

    def __init__(
        self,
        job: Job,
        source: Path,
        scratch: Path,
        sources: Path,
        report: ReportFolder,
        caches: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.job = job
        self.source = source  # the revision's files; left as they are
        self.scratch = scratch  # an empty folder, removed afterwards
        self.sources = sources  # blob folder of pinned downloads; outlives the job
        self.store = sources.parent / "store"  # of built parts; outlives the job too, unless the kind has its own
        self.caches = caches  # to take parts from before they are built; each with its url and the trusted keys
        self.report = report
        self.steps: list[Step] = []
        self.cases: list[TestCase] = []
        self.parts: list[BuiltPart] = []
        self.promises: tuple[KeptPromise, ...] = ()
        self.manifest: ReleaseManifest | None = None
        self.reason = ""
        self._failures = 0  # reported so far
        self._telling = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report a step of the job: running while the block runs, failed when it raises or a failure was reported."""
        self.say(f"== {name}")
        before = self._failures
        index = len(self.steps)
        self.steps.append(Step(name, time.time()))
        self._tell()
        try:
            yield
        except BaseException as error:
            self._end(index, outcome_of(error))
            raise
        self._end(index, Outcome.PASSED if self._failures == before else Outcome.FAILED)

    def say(self, line: str) -> None:
        """Write a line to the log at once."""
        print(line, flush=True)  # noqa: T201 (the job's output is its log)

    def hide(self, secrets: Iterable[str | Secret]) -> None:
        """Name values that must not leave this machine, before they can be printed."""
        hide(self.report.secrets, secrets)

    def add_cases(self, cases: Iterable[TestCase]) -> None:
        """Report test cases; one that failed fails the job."""
        for case in cases:
            self.cases.append(case)
            self._failures += _is_bad(case)

    def add_parts(self, parts: Iterable[BuiltPart]) -> None:
        """Report shared parts that were built or found; on any thread."""
        self.parts.extend(parts)
        self._tell()

    def fail(self, reason: str) -> None:
        """Make the job fail, and go on; the first reason is shown."""
        self.say(f"failed: {reason}")
        self._failures += 1
        self.reason = self.reason or reason

    def offer(self, manifest: ReleaseManifest, closure: Path) -> None:
        """Hand out the manifest that this job has proved, to be signed when the job passes."""
        write_bytes(self.report.closure, closure.read_bytes(), sync=False)
        self.manifest = manifest

    def finish(self, error: BaseException | None = None) -> JobResult:
        """Return how the job ended, given the exception that ended it; called by the job process."""
        outcome, reason = Outcome.PASSED, self.reason
        bad = [case for case in self.cases if _is_bad(case)]
        if error is not None:
            outcome = outcome_of(error)
            reason = (str(error) or type(error).__name__).splitlines()[0]  # the log has all of it
        elif self._failures:
            outcome = Outcome.FAILED
            reason = reason or f"{len(bad)} of {len(self.cases)} test cases failed: {bad[0].suite} {bad[0].name}"
        if outcome is Outcome.FAILED and shutil.disk_usage(self.scratch).free < _LITTLE_DISK:
            outcome, reason = Outcome.INFRASTRUCTURE, f"the disk is full: {reason}"
        manifest = self.manifest if outcome is Outcome.PASSED else None
        told = JobResult(
            0, outcome, reason, tuple(self.steps), tuple(self.cases), None, tuple(self.parts), self.promises
        )
        return replace(decode(JobResult, plain(encode(told))), manifest=manifest)

    def _end(self, index: int, outcome: Outcome) -> None:
        step = replace(self.steps[index], ended=time.time(), outcome=outcome)
        self.steps[index] = step
        self.say(f"== {step.name}: {outcome} after {(step.ended or 0) - step.started:.1f} s")
        self._tell()

    def _tell(self) -> None:
        with self._telling:
            report = StepReport(0, tuple(self.steps), tuple(self.parts))
            write_bytes(self.report.steps, canonical(plain(encode(report))), sync=False)


def hide(path: Path, secrets: Iterable[str | Secret]) -> None:
    """Append values to a job's list of secrets; from any process, because one short write is never interleaved."""
    values = [secret.reveal() if isinstance(secret, Secret) else secret for secret in secrets]
    with path.open("a") as file:
        file.write("".join(f"{json.dumps(value)}\n" for value in values))


def plain(value: Any) -> Any:
    """Return JSON data with each character that UTF-8 or a database's text can't hold replaced."""
    if isinstance(value, str):
        return value.replace("\0", "?").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def outcome_of(error: BaseException) -> Outcome:
    """Return what an exception that ended a job says of it.

    A program that a build runs, and a node, tell of a full disk in words alone.
    """
    is_machine = isinstance(error, MachineError) or any(words in str(error) for words in _DISK_WORDS)
    about_software = isinstance(error, AllotmentError) and not is_machine
    return Outcome.FAILED if about_software else Outcome.INFRASTRUCTURE


def _is_bad(case: TestCase) -> bool:
    return case.outcome in (CaseOutcome.FAILED, CaseOutcome.ERROR)
