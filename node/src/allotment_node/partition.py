# SPDX-License-Identifier: Apache-2.0
"""A partition's directory as the agent sees it: inputs written, outputs read as from a stranger, all of it removed."""

import dataclasses
import hashlib
import json
import os
import stat
from typing import Final, TypeVar

from allotment import atomic
from allotment.codec import canonical, decode, dumps, encode, loads, nesting
from allotment.errors import AllotmentError, MessageError
from allotment.messages.desired_state import DesiredState
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceRequests
from allotment_node.folder import NodeFolder, remove_tree

OUTPUT_LIMIT: Final = 1 << 20  # bytes of requests.json and of published.json
INPUT_LIMIT: Final = 16 << 20  # bytes of instance.json, as recipes read it
ASKED_LIMIT: Final = 4096  # bytes of process
OUTPUT_DEPTH: Final = 48  # of lists and objects in them; masters take 64 of a report, which has some of its own
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Processed:
    """What the last processing of a partition was made from, and how it ended."""

    inputs: str  # sha256, see :func:`input_hash`
    outcome: str  # "done", "waiting", "failed" or "oscillating"
    asked: str = ""  # what the instance had asked for when it began, see :meth:`Partition.asked`
    format: int = 1


def input_hash(document: DesiredState, addresses: tuple[str, ...]) -> str:
    """Return the hash of all that a processing sees; the generation is only a number and no input."""
    data = encode(document)
    del data["generation"]
    return hashlib.sha256(canonical([data, list(addresses)])).hexdigest()


class Partition:
    """One partition's files. ``.allotment`` is made by the agent and, like all below, may be a tenant's by now."""

    def __init__(self, folder: NodeFolder, name: str) -> None:
        self.name = name
        self.path = folder.partition(name)
        self.log = folder.logs / f"{name}.log"
        self._exchange = self.path / ".allotment"
        self._record = folder.processed / f"{name}.json"
        self._traces = (folder.service_logs, folder.usage)

    def write_input(self, document: InstanceInput) -> None:
        """Write ``instance.json``. Earlier outputs stay: a run that waits adds to what was published before.

        A partition in which another instance still is, because it was never destroyed, is refused: its data would
        be given to a stranger.
        """
        self.path.mkdir(mode=0o750, exist_ok=True)
        self._exchange.mkdir(mode=0o700, exist_ok=True)
        self._check_exchange()
        if other := self.other_occupant(document.instance):
            raise AllotmentError(
                f"{self.name} is wanted for {document.instance}, and {other} is in it",
                f"Destroy the one that is there, or remove {self.path} if nobody needs its data",
            )
        atomic.write_bytes(self._exchange / "instance.json", dumps(document), 0o600, sync=False)

    def other_occupant(self, instance: str) -> str:
        """Return the identifier and name of the instance that was processed here last, if it is another one."""
        try:
            self._check_exchange()
            data = atomic.read_limited(self._exchange / "instance.json", INPUT_LIMIT)
            found = None if data is None else loads(InstanceInput, data)
        except (AllotmentError, OSError):
            return ""  # nobody was here, or what is left can't be read and must not keep it from being removed
        return "" if found is None or found.instance == instance else f"{found.instance} ('{found.name}')"

    def read_requests(self) -> InstanceRequests | None:
        """Return ``requests.json``, None when the run did not write one."""
        return self._read(InstanceRequests, "requests.json")

    def read_published(self) -> InstancePublished | None:
        """Return ``published.json``, None when the run did not write one."""
        return self._read(InstancePublished, "published.json")

    def asked(self) -> str:
        """Return the hash of ``process``: with another text than before an instance asks to be processed again.

        Nothing else comes of what stands there; a file that is too long, or none, asks for nothing.
        """
        try:
            self._check_exchange()
            data = atomic.read_limited(self._exchange / "process", ASKED_LIMIT)
        except (AllotmentError, OSError):
            return ""
        return hashlib.sha256(data).hexdigest() if data else ""

    def processed(self) -> Processed | None:
        """Return the record of the last processing; an unreadable one means that there was none."""
        try:
            return decode(Processed, json.loads(self._record.read_bytes()), str(self._record))
        except (FileNotFoundError, ValueError, MessageError):
            return None

    def record(self, processed: Processed) -> None:
        """Note a processing; written last, so that an interrupted one is done again."""
        atomic.write_bytes(self._record, canonical(encode(processed)), 0o600, sync=False)

    def forget(self) -> None:
        """Have the next pass process this partition whatever its inputs."""
        self._record.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Remove the partition and every trace of it: logs, usage of services, records."""
        self.forget()
        remove_tree(self.path)
        for folder in self._traces:
            for path in folder.glob(f"{self.name}.*"):
                path.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def _read(self, kind: type[T], name: str) -> T | None:
        self._check_exchange()
        path = self._exchange / name
        data = atomic.read_limited(path, OUTPUT_LIMIT)
        if data is None:
            return None
        if nesting(data) > OUTPUT_DEPTH:
            raise AllotmentError(
                f"{path} is nested more than {OUTPUT_DEPTH} deep", "Publish and request flatter values"
            )
        return loads(kind, data, f"{self.name}/.allotment/{name}")

    def _check_exchange(self) -> None:
        """Refuse a folder that is a link by now: it would lead reads and writes elsewhere."""
        for path in (self.path, self._exchange):
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise AllotmentError(f"{path} is not a folder", "Remove it")
