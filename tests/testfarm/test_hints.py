# SPDX-License-Identifier: Apache-2.0
"""Hints: who has let a job wait tells the engines, which look at once."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from allotment.messages.job import JobState
from allotment_testfarm.commands.retry import command
from allotment_testfarm.db import jobs
from allotment_testfarm.engine.hints import Hints
from allotment_testfarm.hints import PIPE, tell_engines


class Reactor:
    """Reads what is there when it is told to."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove

    def read(self) -> int:
        """Return how many of the readers had something to read."""
        count = 0
        for reader in self.readers:
            try:
                reader.doRead()
                count += 1
            except BlockingIOError:
                continue
        return count


class Engines:
    """Two engines over one folder."""

    def __init__(self, folder: Path) -> None:
        self.reactor = Reactor()
        self.told: list[str] = []
        names = (PIPE, f"two-{PIPE}")
        self.hints = [Hints(self.reactor, folder / name, self._listener(name)) for name in names]  # type: ignore[arg-type]  # of a reactor it needs no more
        for hints in self.hints:
            hints.start()

    def _listener(self, name: str) -> Any:
        return lambda: self.told.append(name)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    found = Engines(tmp_path)
    yield found
    for hints in found.hints:
        hints.stop()


def test_each_engine_hears_once_of_many_hints(engines: Engines, tmp_path: Path) -> None:
    for _ in range(100):
        tell_engines(tmp_path)
    assert engines.reactor.read() == 2
    assert engines.told == [PIPE, f"two-{PIPE}"]
    assert engines.reactor.read() == 0
    tell_engines(tmp_path)
    assert engines.reactor.read() == 2


def test_a_hint_never_waits(engines: Engines, tmp_path: Path) -> None:
    handle = os.open(tmp_path / PIPE, os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while os.write(handle, b"." * 4096):
            pass
    os.close(handle)
    tell_engines(tmp_path)
    assert engines.reactor.read() == 2


def test_an_engine_without_a_pipe_does_its_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hints = Hints(Reactor(), tmp_path / "none" / PIPE, lambda: None)  # type: ignore[arg-type]  # as above
    hints.start()
    hints.stop()
    assert "what other programs let wait is seen a second later" in caplog.text


def test_nobody_is_told_where_no_engine_runs(engines: Engines, tmp_path: Path) -> None:
    engines.hints[0].stop()
    engines.hints[0].stop()
    assert not (tmp_path / PIPE).exists()
    tell_engines(tmp_path)
    assert engines.told == []
    (tmp_path / PIPE).write_text("no pipe")
    tell_engines(tmp_path)
    assert (tmp_path / PIPE).read_text() == "no pipe"


def test_a_pipe_that_a_killed_engine_has_left_is_replaced(engines: Engines, tmp_path: Path) -> None:
    again = Hints(engines.reactor, tmp_path / PIPE, lambda: engines.told.append("again"))  # type: ignore[arg-type]  # as above
    again.start()
    tell_engines(tmp_path)
    engines.reactor.read()
    assert "again" in engines.told
    again.stop()


def test_a_retried_job_is_told(filled_sqlite: Any, engines: Engines, tmp_path: Path) -> None:
    (job,) = filled_sqlite.revision("a").jobs
    filled_sqlite.run(jobs.cancel, job, filled_sqlite.now)
    done = CliRunner().invoke(command, [str(job), "--folder", str(tmp_path)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, f"job {job} waits again\n")
    assert filled_sqlite.run(jobs.get, job).state is JobState.WAITING
    assert engines.reactor.read() == 2
