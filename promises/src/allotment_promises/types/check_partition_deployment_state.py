# SPDX-License-Identifier: Apache-2.0
"""Promise: the last processing of a partition went well."""

import time
from dataclasses import dataclass
from pathlib import Path

from allotment.atomic import read_limited
from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceRequests
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_count, show_seconds

_LIMIT = 8 << 20  # bytes of requests.json


@dataclass(frozen=True)
class Options:
    partition: Path = Path()  # folder of the partition, relative to the promise's own


class CheckPartitionDeploymentState(GenericPromise[Options]):
    """Passes when the node's last processing of a partition came to its end; parts may wait for something.

    It is told by the files of the exchange between node and recipes: the input is written before a processing, the
    answers after all went well. Why one failed is in the node's log of the partition.

    Metrics: ``waiting``, parts that wait for something.
    """

    only = "anomaly"

    def target(self) -> str:
        return str(self.partition / self.options.partition)

    def sense(self) -> Measurement:
        folder = self.partition / self.options.partition / ".allotment"
        name = (self.partition / self.options.partition).resolve().name
        try:
            begun = (folder / "instance.json").stat().st_mtime
            data = read_limited(folder / "requests.json", _LIMIT)
            ended = (folder / "requests.json").stat().st_mtime if data is not None else 0.0
            is_half = (folder / "unfinished.json").exists()
            is_at_work = _is_locked(folder / "lock")
        except FileNotFoundError as error:
            return Measurement.failed(f"{name} was never processed: there is no {error.filename}")
        except (OSError, AllotmentError) as error:
            return Measurement.failed(f"the state of {name} can't be read: {error}")
        ago = show_seconds(max(time.time() - begun, 0.0))
        if is_at_work:
            return Measurement.passed(f"{name} is being processed since {ago}")
        if is_half:
            return Measurement.failed(f"the processing of {name} {ago} ago was broken off, expected it to end")
        if data is None or ended < begun:
            return Measurement.failed(f"the processing of {name} {ago} ago failed: see the node's log of it")
        return self._waiting(name, ago, data)

    def _waiting(self, name: str, ago: str, data: bytes) -> Measurement:
        try:
            waiting = loads(InstanceRequests, data, f"{name}/.allotment/requests.json").waiting
        except AllotmentError as error:
            return Measurement.failed(str(error))
        text = f"{name} was processed {ago} ago"
        if waiting:
            return Measurement.passed(
                f"{text}, {show_count(len(waiting), 'part')} waiting: {'; '.join(waiting)}", waiting=len(waiting)
            )
        return Measurement.passed(text, waiting=Metric(0))


def _is_locked(path: Path) -> bool:
    """Return whether a run holds the lock of the partition; asking for the lock itself would hinder a run."""
    try:
        inode = str(path.stat().st_ino)
    except FileNotFoundError:
        return False
    with open("/proc/locks") as file:  # 1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF; a waiting one has -> first
        return any(inode in line.split()[-3].split(":") for line in file if " FLOCK " in line)
