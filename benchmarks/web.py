# SPDX-License-Identifier: Apache-2.0
"""Our web tier as a process of its own, over a database with years of history."""

from pathlib import Path
from types import TracebackType
from typing import Self

from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.programs import Program, Programs
from benchmarks import five_years


class Web:
    """Use it as a context manager; ``database`` is a URL, or "" for a SQLite file in the folder."""

    def __init__(self, folder: Path, database: str = "", revisions: int = five_years.REVISIONS) -> None:
        self._folder = folder / "farm"
        self._folder.mkdir()
        self._programs = Programs()
        self._database_url = database or sqlite_url(str(self._folder / "farm.sqlite"))
        self.database = Database(self._database_url)
        self.database.upgrade("allotment_testfarm")
        self.jobs = five_years.fill(self.database, revisions=revisions)  # number of the newest
        self.url = ""
        self.pid = 0

    def __enter__(self) -> Self:
        arguments = ["web", "--folder", str(self._folder), "--database", self._database_url]
        program = Program("web", "allotment_testfarm", arguments, self._folder, "web.json")
        ready = self._programs.start(program)
        self.url, self.pid = ready["url"], ready["pid"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._programs.stop()
        self.database.close()
