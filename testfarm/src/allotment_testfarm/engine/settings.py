# SPDX-License-Identifier: Apache-2.0
"""What the engine is told at its start, and the files that it makes in the farm's folder."""

import fcntl
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from allotment import atomic
from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_master.kit.database import sqlite_url
from allotment_testfarm.db.leases import LeaseTerms
from allotment_testfarm.engine.cron import Cron
from allotment_testfarm.engine.naming import check_engine, check_project
from allotment_testfarm.retention import Rules

DATABASE = "farm.sqlite"  # inside the farm's folder, unless another database is given


@dataclass(frozen=True)
class Settings:
    """One project's engine."""

    folder: Path
    repository: str
    branch: str = ""  # "" is the repository's HEAD
    project: str = "main"
    port: int = 0  # of the wire; 0 takes a free one
    poll: float = 5.0  # seconds
    database: str = ""  # URL; "" is a file in the folder
    master: str = ""  # URL; "" offers nothing
    master_token_file: Path | None = None
    releases: tuple[str, ...] = ()  # names of those to test; () is all
    job_timeout: float = 3600.0  # seconds
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    keep: Rules = field(default_factory=Rules)
    name: str = ""  # of the engine, where several share a folder and a PostgreSQL database
    nightly: str = ""  # cron line; "" is never
    time_zone: str = "UTC"  # of the cron line

    def __post_init__(self) -> None:
        check_project(self.project)
        check_engine(self.name, self.database)
        if self.nightly:
            Cron(self.nightly, self.time_zone)  # refuses what can't be read

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file, and the engine alone."""
        return self.database_url.startswith("sqlite")

    @property
    def database_url(self) -> str:
        """The database to use."""
        return self.database or sqlite_url(str(self.folder / DATABASE))

    def master_token(self) -> Secret | None:
        """Return the token to show the master."""
        if self.master_token_file is None:
            return None
        try:
            return Secret(self.master_token_file.read_text().strip())
        except OSError as error:
            raise AllotmentError(
                f"{self.master_token_file} can't be read: {error.strerror}", "Give the master's --master-token-file"
            ) from error


def node_token(folder: Path) -> Secret:
    """Return the token that test nodes show; of the programs that share the farm's folder the first one makes it."""
    path = folder / "node.token"
    with (folder / "secrets.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists():
            atomic.write_bytes(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)
    return Secret(path.read_text().strip())
