# SPDX-License-Identifier: Apache-2.0
"""Retention: what no rule keeps is removed, in steps so small that nothing else waits for them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment_master.kit.database import Database
from allotment_recipes.store import HASH_DIGITS
from allotment_testfarm.db import retention
from allotment_testfarm.engine.cache_offer import PARTS
from allotment_testfarm.engine.duties import Duties
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.engine.repeating import RepeatingService
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.logs.store import index_path, packed_path
from allotment_testfarm.retention import DAY, Rules

YOUNG = DAY  # seconds: so long is a blob kept that no manifest needs yet, and a file that is written aside
SOURCES = 7 * DAY  # seconds for which the archive of a revision is kept that nobody asks for
INTERVAL = 3600.0  # seconds between two rounds


@dataclass(frozen=True)
class Removed:
    """Something that went, or would go."""

    kind: str  # log, event, blob, part, archive or upload
    name: str
    size: int  # bytes on disk; 0 for rows
    count: int = 1


class Sweep:
    """Finds and removes what no rule keeps; ``is_dry`` removes nothing."""

    def __init__(self, database: Database, folder: Path, logs: LogSink, rules: Rules, *, is_dry: bool = False) -> None:
        self._database = database
        self._folder = folder  # the farm's
        self._logs = logs
        self._rules = rules
        self._is_dry = is_dry

    def steps(self, now: float) -> Iterator[tuple[Removed, ...]]:
        """Yield what each step has removed; every step blocks for some milliseconds, and may be the last."""
        yield from self._old_logs(now)
        yield from self._unpacked_logs()
        yield from self._old_events(now)
        yield from self._unneeded_blobs(now)
        yield from self._unneeded_parts(now)
        yield from self._files("archive", self._folder / "sources", "*/*.tar", now - SOURCES)
        yield from self._files("upload", self._folder / "temporary", "*", now - YOUNG)

    def _old_logs(self, now: float) -> Iterator[tuple[Removed, ...]]:
        after: retention.Place | None = retention.START
        while after is not None:
            with self._database.read() as connection:
                found = retention.old_logs(connection, self._rules, now, after)
            gone = tuple(self._log(log) for log in found.logs)
            if gone and not self._is_dry:  # the rows come last: what is cut off in between is found again
                with self._database.write() as connection:
                    retention.forget_logs(connection, [log.attempt for log in found.logs], now)
            after = found.following
            yield gone

    def _unpacked_logs(self) -> Iterator[tuple[Removed, ...]]:
        """Pack the logs for which there was no room when their attempts ended, or no time: an engine was killed."""
        after: retention.Place | None = retention.START
        while after is not None and not self._is_dry:
            with self._database.read() as connection:
                paths, after = retention.ended_logs(connection, after)
            for path in paths:
                if (self._folder / path).exists():
                    self._logs.seal(path)
            yield ()

    def _log(self, log: retention.OldLog) -> Removed:
        path = self._folder / log.path
        size = sum(file.stat().st_size for file in (path, packed_path(path), index_path(path)) if file.exists())
        if not self._is_dry:
            self._logs.remove(log.path)
        return Removed("log", f"job {log.job}, attempt {log.number}: {log.release}", size)

    def _old_events(self, now: float) -> Iterator[tuple[Removed, ...]]:
        last = 0
        while True:
            with self._database.read() as connection:
                found = retention.old_events(connection, self._rules, now, last)
            if not found:
                return
            if not self._is_dry:
                with self._database.write() as connection:
                    retention.remove_events(connection, found)
            last = found[-1]
            yield (Removed("event", f"{found[0]} to {last}", 0, len(found)),)

    def _unneeded_blobs(self, now: float) -> Iterator[tuple[Removed, ...]]:
        with self._database.read() as connection:
            needed = retention.needed_blobs(connection, self._rules)

        def may_go(sha256: str) -> bool:
            if sha256 in needed or self._is_dry:
                return sha256 not in needed
            with self._database.write() as connection:  # a revert may need it by now
                return retention.give_up_blob(connection, self._rules, sha256)

        yield from self._files("blob", self._folder / "blobs", "[0-9a-f][0-9a-f]/*", now - YOUNG, may_go)

    def _unneeded_parts(self, now: float) -> Iterator[tuple[Removed, ...]]:
        """Remove parts of the binary cache in the farm's folder, each entry before its archive."""
        entries, gone = self._folder / PARTS / "entries", set()
        if not entries.is_dir():
            return
        with self._database.read() as connection:
            needed = {digest[:HASH_DIGITS] for digest in retention.needed_parts(connection, self._rules)}

        def may_go(name: str) -> bool:
            return name.removesuffix(".json")[-HASH_DIGITS:] not in needed

        for removed in self._files("part", entries, "[!.]*.json", now - self._rules.parts * DAY, may_go):
            gone |= {Path(item.name).name for item in removed}
            yield removed
        named = {_archive(path) for path in entries.glob("[!.]*.json") if path.name not in gone}
        archives = self._folder / PARTS / "archives"
        yield from self._files("part", archives, "[0-9a-f][0-9a-f]/*", now - YOUNG, lambda sha256: sha256 not in named)

    def _files(
        self, kind: str, folder: Path, pattern: str, before: float, may_go: Callable[[str], bool] = lambda _: True
    ) -> Iterator[tuple[Removed, ...]]:
        """Remove the files that nobody has touched since then, and whose names ``may_go``."""
        for path in sorted(folder.glob(pattern)):
            try:
                status = path.stat()
                if status.st_mtime >= before or not may_go(path.name):
                    continue
                if path.stat().st_mtime >= before:  # uploaded again meanwhile
                    continue
                if not self._is_dry:
                    path.unlink()
            except FileNotFoundError:  # whoever wrote it has just removed it
                continue
            yield (Removed(kind, str(path.relative_to(self._folder)), status.st_size),)


def _archive(entry: Path) -> str:
    """Return the sha256 of a part's archive; of an entry that is gone or damaged there is none."""
    try:
        return str(json.loads(entry.read_bytes())["packed"]["archive"]["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


class Retention(RepeatingService):
    """Sweeps again and again; of several engines over one database one does."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, workers: Workers, sweep: Sweep, duties: Duties) -> None:
        super().__init__(clock, self._round, INTERVAL)
        self._clock = clock
        self._workers = workers
        self._sweep = sweep
        self._duties = duties

    async def _round(self) -> None:
        """Go on until nothing is left, the service stops, or another engine has the duty."""
        steps = self._sweep.steps(self._clock.seconds())
        counts: Counter[str] = Counter()
        size = 0
        while self.running and await self._duties.mine("retention"):
            removed = await self._workers.blocking(next, steps, None)
            if removed is None:
                break
            for item in removed:
                counts[item.kind] += item.count
                size += item.size
        if counts:
            said = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
            self._log.info("no rule keeps these any more, removed: {said}; {size} bytes", said=said, size=size)
