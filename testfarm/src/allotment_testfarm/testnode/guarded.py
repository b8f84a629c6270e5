# SPDX-License-Identifier: Apache-2.0
"""One job in its own process under the guard: start it, collect its output without secrets, learn how it ended."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from allotment.atomic import read_limited, write_bytes
from allotment.codec import decode, dumps, encode, loads
from allotment.errors import AllotmentError, MessageError
from allotment.messages.job import Job, Outcome
from allotment_testfarm.jobs import ReportFolder, plain
from allotment_testfarm.testnode import guard
from allotment_testfarm.testnode.bounded_log import BoundedLog
from allotment_testfarm.testnode.case_lines import with_lines
from allotment_testfarm.testnode.host import memory
from allotment_testfarm.testnode.redact import Redactor
from allotment_testfarm.testnode.scratch import Scratch, kill_leftovers
from allotment_testfarm.testnode.sizes import shown
from allotment_testfarm.wire import JobResult, StepReport

_log = logging.getLogger(__name__)
PROCESSES = 1024  # that a job may have at a time; the same everywhere, because one that has more has failed
_MAX_REPORT = 16 << 20  # bytes of one file of the report folder
_CHUNK = 1 << 16  # bytes
_MAX_STEPS = 1000
_MAX_PARTS = 2000
_MAX_NAME = 200  # characters of a step's or part's name
_LAST_OUTPUT = 5.0  # seconds in which the output ends after the guard has; it has killed everything by then
# Settings that reach a job from the test node's environment: how pip and TLS reach the outside from this machine.
_PASSED_ON = ("PIP_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def most_memory(slots: int = 1) -> int:
    """Return how many bytes a job may use where nobody says it: the machine must live on."""
    return memory() * 9 // 10 // slots


class GuardedJob:
    """A job process with everything it starts; ``echo`` gets each redacted piece of output, on another thread."""

    def __init__(
        self,
        job: Job,
        source: Path,
        scratch: Scratch,
        sources: Path,
        memory: int,
        echo: Callable[[bytes], None] | None = None,
        caches: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """``memory`` is how many bytes all its processes may use together.

        ``caches`` are the binary caches that it may take parts from, as a build wants them.
        """
        self.report = ReportFolder(scratch.report)
        self._job = job
        self._scratch = scratch
        self._folders = (scratch.report, source, scratch.work, sources)
        self._memory = memory
        self._echo = echo
        self._caches = caches
        self._environment = environment(scratch)
        self._redactor = Redactor(passwords(self._environment))
        self._redactor_lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pump = threading.Thread(target=self._collect, name="job-output", daemon=True)
        self._secrets_read = 0
        self._started = 0.0
        self._problem = ""  # why the output could not be kept

    def start(self) -> None:
        """Start the process; it has ``job.timeout`` seconds."""
        write_bytes(self.report.job, dumps(self._job), mode=0o600)
        if self._caches:
            write_bytes(self.report.caches, json.dumps(self._caches).encode(), mode=0o600)
        module = "allotment_testfarm.testnode.job_process"
        command = [sys.executable, "-P", "-m", module, *(str(folder) for folder in self._folders)]
        limits = ["--timeout", f"{self._job.timeout:.3f}", "--processes", str(PROCESSES)]
        limits += ["--memory", str(self._memory), "--status", str(self._status)]
        self._started = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *limits, "--", *command],
            stdin=subprocess.PIPE,  # the lifeline: it closes when this process ends, however it ends
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            cwd=self._scratch.work,
            start_new_session=True,
        )
        self._pump.start()

    def kill(self) -> None:
        """End the job and all that it started, at once; harmless when it has ended."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self) -> str:
        """Wait until nothing of the job is left and its output is collected; return the guard's word for its end."""
        process = self._running()
        process.wait()
        self._pump.join(_LAST_OUTPUT)
        if self._pump.is_alive():  # the guard was killed: what it guarded holds the pipe open
            kill_leftovers(self._scratch)
            self._pump.join()
        self.kill()
        if process.stdout is not None:
            process.stdout.close()
        try:
            return self._status.read_text()
        except OSError:
            return "killed"  # the guard itself did not live to write it

    def progress(self) -> StepReport:
        """Return the steps and parts that the job has reported, without secrets."""
        try:
            data = read_limited(self.report.steps, _MAX_REPORT)
            report = StepReport(0) if data is None else loads(StepReport, data)
            self._learn()  # after reading, as with the output
        except (AllotmentError, OSError):
            return StepReport(0)
        steps = tuple(replace(step, name=self._clean(step.name)) for step in report.steps[:_MAX_STEPS])
        parts = tuple(
            replace(part, name=self._clean(part.name), version=self._clean(part.version))
            for part in report.parts[:_MAX_PARTS]
        )
        return StepReport(0, steps, parts)

    def result(self, ended: str) -> JobResult:
        """Return the job's result, without secrets, given how it ended; what it does not say is added."""
        if self._problem:
            return self._cut_short(Outcome.INFRASTRUCTURE, self._problem)
        if ended == "timeout":
            return self._cut_short(Outcome.TIMED_OUT, f"did not end within {self._job.timeout:g} s")
        if ended == "processes":
            return self._cut_short(Outcome.FAILED, f"had more than {PROCESSES} processes at a time")
        if ended == "memory":  # there may be more of it elsewhere
            reason = f"used more than {shown(self._memory)} of memory, which is all that this test node gives a job"
            return self._cut_short(Outcome.INFRASTRUCTURE, reason)
        if ended == "abandoned":
            return self._cut_short(Outcome.CANCELLED, "the job was ended")
        if ended != "ended":
            return self._cut_short(Outcome.INFRASTRUCTURE, f"the job's guard was {ended}")
        try:
            data = read_limited(self.report.result, _MAX_REPORT)
            if data is None:
                code = self._running().returncode
                return self._cut_short(Outcome.INFRASTRUCTURE, f"the job process ended with {code} and no result")
            result = self._redacted(loads(JobResult, data))
            # In the log without secrets, which is the farm's: a secret may have had lines of its own.
            return replace(
                result, cases=with_lines(result.cases, self._scratch.log, str(Path(self._job.profile).parent))
            )
        except AllotmentError as error:
            return self._cut_short(Outcome.INFRASTRUCTURE, f"the job's result can't be read: {error}")

    @property
    def _status(self) -> Path:
        return self._scratch.folder / "ended"

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("start() first")
        return self._process

    def _cut_short(self, outcome: Outcome, reason: str) -> JobResult:
        now = time.time()
        told = self.progress()
        steps = tuple(step if step.ended else replace(step, ended=now, outcome=outcome) for step in told.steps)
        return JobResult(0, outcome, reason, steps, parts=told.parts)

    def _clean(self, name: str) -> str:
        with self._redactor_lock:
            return str(plain(self._redactor.text(name)))[:_MAX_NAME]

    def _redacted(self, result: JobResult) -> JobResult:
        """Replace secrets everywhere but in the manifest, whose hash is its name: one with a secret is refused."""
        self._learn()
        manifest = result.manifest
        with self._redactor_lock:
            clean = decode(JobResult, plain(self._redactor.data(encode(replace(result, manifest=None)))))
            if manifest is not None and self._redactor.data(encode(manifest)) != encode(manifest):
                raise MessageError("the manifest holds a secret", "Take it out of the release")
        return replace(clean, manifest=manifest)

    def _collect(self) -> None:
        """Copy the output to the log until it ends; when that is not possible the job is ended."""
        stream = self._running().stdout
        if stream is None:
            raise RuntimeError("the process has no pipe")
        try:
            with self._scratch.log.open("ab", buffering=0) as log:
                self._copy(stream.fileno(), log)
            return
        except (AllotmentError, OSError) as error:  # a full disk, an echo that is gone, a list of secrets that is none
            self._problem = f"the job's output can't be kept: {error}"
        except Exception as error:  # the job would wait for its output to be read until its time is over
            _log.exception("job %d: a bug in the test node", self._job.id)
            self._problem = f"the job's output can't be kept: {error!r}"
        self.kill()
        while os.read(stream.fileno(), _CHUNK):
            pass  # what still runs must not wait for its output to be read

    def _copy(self, output: int, log: IO[bytes]) -> None:
        """Return at the end of the output, which is when the last process of the job is gone."""
        kept = BoundedLog(log)
        while True:
            chunk = os.read(output, _CHUNK)
            self._learn()  # after reading: a secret is named before it is printed
            with self._redactor_lock:
                data = self._redactor.feed(chunk) if chunk else self._redactor.flush()
            kept.write(data)
            if self._echo is not None:
                self._echo(data)
            if not chunk:
                kept.end()
                return

    def _learn(self) -> None:
        """Read what the job has added to its list of secrets."""
        path = self.report.secrets
        try:
            if path.stat().st_size == self._secrets_read:
                return
            data = read_limited(path, _MAX_REPORT) or b""
        except FileNotFoundError:
            return
        with self._redactor_lock:
            self._redactor.learn(_strings(data[: data.rfind(b"\n") + 1]))
        self._secrets_read = len(data)


def environment(scratch: Scratch) -> dict[str, str]:
    """Return the environment of a job: clean, with homes in its scratch folder, and what pip and TLS need here."""
    passed = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
    settings = Path(os.environ.get("HOME", "/nonexistent")) / ".config/pip/pip.conf"
    if "PIP_CONFIG_FILE" not in passed and settings.is_file():
        passed["PIP_CONFIG_FILE"] = str(settings)
    return {
        **passed,
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(scratch.folder / "home"),
        "TMPDIR": str(scratch.temporary),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # a live log
        "PYTHONDONTWRITEBYTECODE": "1",  # the source stays as it came
    }


def passwords(variables: dict[str, str]) -> list[str]:
    """Return the passwords inside URLs in an environment."""
    found = []
    for value in variables.values():
        for word in value.split():
            try:
                password = urlsplit(word).password
            except ValueError:
                continue
            if password:
                found.append(password)
    return found


def _strings(lines: bytes) -> list[str]:
    found = []
    for line in lines.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the job wrote nonsense
        if isinstance(value, str):
            found += [value.encode("utf-8", "replace").decode(), str(plain(value))]  # as in the log, as in the result
    return found
