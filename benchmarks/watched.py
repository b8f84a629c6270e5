# SPDX-License-Identifier: Apache-2.0
"""A node whose partitions have many promises, run by the real program; and what it uses."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from allotment.messages.desired_state import DesiredState, InstanceStatus, NodeDesiredState, ObservedInstance
from allotment.messages.instance import InstanceState
from allotment.options import Lines
from allotment_node.addresses import AddressBlock
from allotment_node.config import NodeConfig, dump
from allotment_node.documents import Documents
from allotment_node.folder import NodeFolder
from allotment_node.observations import Observations
from allotment_node.partition import Partition, Processed, input_hash

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What the processes of the node have used, and use, at one moment."""

    at: float  # seconds on the monotonic clock
    cpu: float  # seconds so far, of processes that have ended too
    memory: int  # bytes, proportional set size
    processes: int


class WatchedNode:
    """A node's folder in which all instances are as they should be, and only their promises are left to do."""

    def __init__(self, root: Path, partitions: int, promises: int, period: float) -> None:
        self.folder = NodeFolder(root)
        self.folder.create()
        self.config = NodeConfig("bench", Lines(("http://127.0.0.1:9",)), partitions)
        self.folder.config.write_text(dump(self.config))
        self.folder.token.write_text("of no master\n")
        self.folder.token.chmod(0o600)
        documents = Documents(self.folder.desired, self.config.partition_names)
        observations = Observations(self.folder.observed)
        addresses = AddressBlock(self.folder.state / "addresses.json")
        for name in self.config.partition_names:
            document = DesiredState(name, 1, "bench", f"inst-{name}", name, name, "0" * 64, "x", InstanceState.STARTED)
            documents.apply(NodeDesiredState(1, (), (document,)))
            observations.put_instance(ObservedInstance(name, document.instance, 1, InstanceStatus.GREEN))
            partition = Partition(self.folder, name)
            partition.path.mkdir()
            partition.record(Processed(input_hash(document, (addresses.address(name),)), "done"))
            _write_promises(partition.path, promises, period)
        addresses.close()

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Run ``allot node run``, and end it with all that it has started."""
        words = [sys.executable, "-m", "allotment_node", "run", "--folder", str(self.folder.root)]
        log = self.folder.root / "agent.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(words, stderr=stderr, stdout=subprocess.DEVNULL)
        try:
            while not self.folder.ready.exists():
                if process.poll() is not None:
                    raise RuntimeError(log.read_text())
                time.sleep(0.01)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)
            stop = [sys.executable, "-m", "allotment_node", "stop", "--folder", str(self.folder.root)]
            subprocess.run(stop, check=False, capture_output=True)


def _write_promises(partition: Path, count: int, period: float) -> None:
    folder = partition / "etc" / "promise"
    folder.mkdir(parents=True)
    data = {"format": 1, "type": "check_file_state", "period": period, "options": {"filename": "etc"}}
    for number in range(count):
        (folder / f"p{number:03}.json").write_text(json.dumps(data))


def use(agent: psutil.Process) -> Use:
    """Look at an agent and all of its descendants; those that have ended are counted with who waited for them."""
    cpu, memory, count = 0.0, 0, 0
    for process in [agent, *agent.children(recursive=True)]:
        with contextlib.suppress(OSError, psutil.Error, IndexError, StopIteration):
            folder = Path("/proc", str(process.pid))
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            cpu += sum(map(int, fields[11:15])) / TICK  # user and system; its own and of those it waited for
            lines = (folder / "smaps_rollup").read_text().splitlines()
            memory += next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
            count += 1
    return Use(time.monotonic(), cpu, memory, count)
