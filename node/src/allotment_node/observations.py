# SPDX-License-Identifier: Apache-2.0
"""Observed state: the last observation of each release and partition, kept until a master has accepted it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from allotment import atomic
from allotment.codec import dumps, loads
from allotment.errors import MessageError
from allotment.messages.desired_state import ObservedInstance, ObservedSoftware, ObservedState

_log = logging.getLogger(__name__)


class Observations:
    """One small file per observation. After a start everything is sent again: reports are the same twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._condition = threading.Condition()
        self._instances: dict[str, ObservedInstance] = {}
        self._software: dict[str, ObservedSoftware] = {}
        self._unsent: set[str] = set()
        self._load()

    def instance(self, partition: str) -> ObservedInstance | None:
        """Return what was last observed of a partition."""
        with self._condition:
            return self._instances.get(partition)

    def software(self, manifest: str) -> ObservedSoftware | None:
        """Return what was last observed of a release."""
        with self._condition:
            return self._software.get(manifest)

    def put_instance(self, found: ObservedInstance) -> None:
        """Note a partition's state; nothing happens when it is what was noted before."""
        with self._condition:
            if self._instances.get(found.partition) != found:
                self._instances[found.partition] = found
                self._note(found.partition, ObservedState(instances=(found,)))

    def change_instance(self, partition: str, change: Callable[[ObservedInstance], ObservedInstance]) -> None:
        """Note what ``change`` makes of the last observation; nobody else's comes in between. It must be quick."""
        with self._condition:
            seen = self._instances.get(partition)
            if seen is not None:
                self.put_instance(change(seen))

    def put_software(self, found: ObservedSoftware) -> None:
        """Note a release's state."""
        with self._condition:
            if self._software.get(found.manifest) != found:
                self._software[found.manifest] = found
                self._note(found.manifest, ObservedState(software=(found,)))

    def wait(self, timeout: float) -> ObservedState | None:
        """Return all that no master has accepted, waiting up to ``timeout`` seconds for the first."""
        with self._condition:
            if not self._unsent:
                self._condition.wait(timeout)
            if not self._unsent:
                return None
            return ObservedState(
                tuple(item for key, item in sorted(self._software.items()) if key in self._unsent),
                tuple(item for key, item in sorted(self._instances.items()) if key in self._unsent),
            )

    def accepted(self, sent: ObservedState) -> None:
        """A master has ``sent``; what has changed meanwhile stays to be sent."""
        with self._condition:
            done = {item.manifest for item in sent.software if self._software.get(item.manifest) == item}
            done |= {item.partition for item in sent.instances if self._instances.get(item.partition) == item}
            self._unsent -= done

    def wake(self) -> None:
        """End a :meth:`wait`."""
        with self._condition:
            self._condition.notify_all()

    def _note(self, key: str, state: ObservedState) -> None:
        self._unsent.add(key)  # first: a full disk must not keep it from being told
        self._condition.notify_all()
        # Not synced: what a power cut takes away is observed again.
        atomic.write_bytes(self._folder / f"{key}.json", dumps(state), 0o600, sync=False)

    def _load(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.json")):
            try:
                found = loads(ObservedState, path.read_bytes(), str(path))
            except MessageError as error:
                _log.error("%s It is observed anew", error)
                path.unlink()
                continue
            self._instances |= {item.partition: item for item in found.instances}
            self._software |= {item.manifest: item for item in found.software}
        self._unsent = {*self._instances, *self._software}
