# SPDX-License-Identifier: Apache-2.0
"""Recipe ``logrotate.entry``: logs that are rotated."""

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.programs.logrotate import Entry
from allotment_recipes.scripts import refuse_secrets

_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*")
_SIZE = re.compile(r"(\d+)([kMG]?)", re.ASCII)
_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Options:
    log: Lines  # the logs, one a line; * and ? stand for any characters
    name: str = ""  # the file's name; default: the section's
    frequency: Literal["hourly", "daily", "weekly", "monthly", "yearly"] = "daily"  # at the first look of the period
    rotate_num: int = 30  # rotated files that are kept of each log
    nocompress: bool = False  # leave the rotated files as they are
    delaycompress: bool = True  # compress no log before its next rotation, as the service may write to it still
    copytruncate: bool = False  # copy and empty the log, for services that can't open it anew; lines may be lost
    pre: str = ""  # for /bin/sh, before logs are rotated; when it fails, none is
    post: str = ""  # for /bin/sh, after that: lets the service open its logs anew
    backup: Path | None = None  # folder of the rotated files, on the same file system; default: the log's own
    size: str = ""  # rotate at once what is as large as this, such as 100M
    logrotate_entries: Path = Path("etc/logrotate.d")  # folder of the entries


class Recipe(GenericBaseRecipe[Options]):
    """Keep the logs small: rename them when their time has come, compress, and remove the oldest.

    The recipe ``logrotate`` makes cron look once an hour. A rotated log has the time in its name.
    """

    def prepare(self) -> None:
        options = self.options
        name = options.name or self.name
        if not _NAME.fullmatch(name):
            raise OptionProblem("name", f"{name!r} is not an entry's name", "Use letters, digits, '-', '.', '_'")
        if not options.log:
            raise OptionProblem("log", "is empty", "Write the path of a log")
        if options.rotate_num < 1:
            raise OptionProblem("rotate-num", f"{options.rotate_num} is not above zero", "Write it like 30")
        size = _SIZE.fullmatch(options.size.strip() or "0")
        if not size:
            raise OptionProblem("size", f"{options.size!r} is not a size", "Write it like 100M")
        for option in ("pre", "post"):
            refuse_secrets(self, option, getattr(options, option))
        self.target = self.path(options.logrotate_entries) / f"{name}.json"
        root = glob.escape(str(self.folder))
        self.entry = Entry(
            log=Lines(tuple(log if log.startswith("/") else f"{root}/{log}" for log in options.log)),
            frequency=options.frequency,
            rotate_num=options.rotate_num,
            compress=not options.nocompress,
            delaycompress=options.delaycompress,
            copytruncate=options.copytruncate,
            pre=options.pre.strip(),
            post=options.post.strip(),
            backup=str(self.path(options.backup)) if options.backup is not None else "",
            size=int(size[1]) * _UNITS[size[2]],
        )

    def install(self) -> list[Path]:
        """Write the entry."""
        return [self.write(self.target, self.entry.text())]
