# SPDX-License-Identifier: Apache-2.0
"""A job under its guard, in this process; test_testnode.py has the program around it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.job import Job, Outcome
from allotment_testfarm.testnode import scratch
from allotment_testfarm.testnode.guarded import GuardedJob, most_memory

SECRETS = "from pathlib import Path; Path('../report/secrets.jsonl').write_text({lines!r})\n"
PRINT = "print('planted-81732', flush=True); print('y' * 1_000_000)"  # more than a pipe holds


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., GuardedJob]]:
    """Return a job that runs a Python program; its scratch folder goes after the test."""
    work = scratch.create(tmp_path / "job")
    work.source.mkdir()

    def job(program: str, **arguments: Any) -> GuardedJob:
        command = [sys.executable, "-c", program]
        message = Job(1, "demo", "0" * 40, "x", "x/software.cfg", "command", timeout=60.0, options={"command": command})
        return GuardedJob(message, work.source, work, tmp_path / "sources", most_memory(), **arguments)

    yield job
    scratch.remove(work.folder)


@pytest.mark.parametrize(
    "line", [r'"\ud800-and-more"', "[" * 100_000, '"cut', "17"], ids=["surrogate", "deep", "cut", "number"]
)
def test_line_of_the_list_of_secrets_that_is_nonsense_is_passed_over(
    make: Callable[..., GuardedJob], tmp_path: Path, line: str
) -> None:
    job = make(SECRETS.format(lines=f'{line}\n"planted-81732"\n') + PRINT)
    job.start()
    result = job.result(job.wait())
    assert (result.outcome, result.reason) == (Outcome.PASSED, "")
    log = (tmp_path / "job/log").read_bytes()
    assert b"planted" not in log and b"<secret>\n" in log


def test_job_whose_output_meets_a_bug_ends_at_once_and_says_so(make: Callable[..., GuardedJob]) -> None:
    def echo(data: bytes) -> None:
        raise KeyError("a bug")

    job = make(f"{PRINT}; import time; time.sleep(600)", echo=echo)
    job.start()
    result = job.result(job.wait())
    assert (result.outcome, result.reason) == (
        Outcome.INFRASTRUCTURE,
        "the job's output can't be kept: KeyError('a bug')",
    )
