# SPDX-License-Identifier: Apache-2.0
"""Promise: a queue, of files in a folder or in Redis, is not too long."""

import fnmatch
import os
import time
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, check_one_given
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.databases import DatabaseProblem, ServerOptions, redis_client
from allotment_promises.sensing.limits import check_limits, outside

_LENGTHS = {"list": "llen", "set": "scard", "zset": "zcard", "stream": "xlen", "hash": "hlen"}


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    folder: Path | None = None  # whose entries wait, relative to the partition
    pattern: str = "*"  # folder: names that count, as in a shell; hidden ones never do
    key: str = ""  # what waits in Redis instead: a list, set, sorted set, stream or hash
    minimum: float | None = None  # the least that may wait
    maximum: float | None = None  # the most that may wait
    maximum_age: float = 0.0  # folder: seconds since the oldest entry last changed; 0: any

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_given(folder=self.folder, key=self.key)
        if self.key:
            check_one_given(host=self.host, socket=self.socket)
            if self.maximum_age:
                raise OptionProblem("maximum-age, key", "Redis does not know how old it is", "Remove one of the two")
        elif self.host or self.socket:
            raise OptionProblem("folder, host, socket", "a folder is on no server", "Remove one of them")
        if self.maximum_age < 0:
            raise OptionProblem("maximum-age", f"{self.maximum_age:g} is below zero", "Write seconds, like 600")
        check_limits(self.minimum, self.maximum, required=not self.maximum_age)


class CheckQueueLength(GenericPromise[Options]):
    """Passes when from ``minimum`` to ``maximum`` entries wait, in ``folder`` none longer than ``maximum-age``.

    Metrics: ``length``, ``oldest``, seconds since the oldest entry of a folder last changed.
    """

    def target(self) -> str:
        if self.options.folder is not None:
            return str(self.partition / self.options.folder)
        return self.options.target("redis", self.partition)

    def sense(self) -> Measurement:
        options = self.options
        if options.folder is None:
            return self._in_redis()
        try:
            count, oldest = _look(self.partition / options.folder, options.pattern)
        except OSError as error:
            return Measurement.failed(f"{options.folder} can't be examined: {error.strerror}")
        metrics = {"length": Metric(count), "oldest": Metric(oldest, "s")}
        problem = outside(count, options.minimum, options.maximum)
        if not problem and options.maximum_age and oldest > options.maximum_age:
            problem = f", one for {oldest:.0f} s, expected at most {options.maximum_age:g} s"
        return Measurement(not problem, f"{count} wait in {options.folder}{problem}", metrics)

    def _in_redis(self) -> Measurement:
        options = self.options
        where = f"{options.key} of {options.place('redis')}"
        try:
            with redis_client(options, self.partition) as client:
                kind = client.type(options.key)
                if kind not in ("none", *_LENGTHS):
                    return Measurement.failed(f"{where} is a {kind}, expected one of {', '.join(_LENGTHS)}")
                count = 0 if kind == "none" else int(getattr(client, _LENGTHS[kind])(options.key))
        except DatabaseProblem as error:
            return Measurement.failed(f"{where}: {error}")
        problem = outside(count, options.minimum, options.maximum)
        return Measurement(not problem, f"{count} wait in {where}{problem}", {"length": Metric(count)})


def _look(folder: Path, pattern: str) -> tuple[int, float]:
    """Return how many entries wait, and for how many seconds the oldest."""
    count, oldest = 0, time.time()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not fnmatch.fnmatchcase(entry.name, pattern):
                continue
            try:
                oldest = min(oldest, entry.stat(follow_symlinks=False).st_mtime)
            except FileNotFoundError:  # it was taken meanwhile
                continue
            count += 1
    return count, max(0.0, time.time() - oldest) if count else 0.0
