# SPDX-License-Identifier: Apache-2.0
"""A module of SlapOS as a promise: it looks and judges in a process of its own, and is asked for both."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from allotment.errors import AllotmentError
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement
from allotment_promises.modules import facts, header
from allotment_promises.modules.hosts import SHARED, Child


@dataclass(frozen=True)
class Options:
    path: Path
    timeout: float  # seconds, for looking and judging together


def request(path: Path, partition: Path, timeout: float) -> dict[str, Any]:
    """Return what the process of a module is told first; ``ask`` is still to be added."""
    return {
        "name": path.name,
        "path": str(path),
        "partition-folder": str(partition),
        "partition-id": partition.name,
        "log-folder": str(partition / facts.STATE / "log"),
        "promise-timeout": int(timeout),
    }


class Module(GenericPromise[Options]):
    """Runs ``RunPromise`` of a file in ``etc/plugin``: it logs at ERROR or above when what it looks at is broken.

    When it counts as broken is for its own ``test`` and ``anomaly`` to say, from what its earlier runs logged.
    """

    failures = window = 1  # the module itself counts
    _child: Child | None = None

    def sense(self) -> Measurement:
        deadline = time.monotonic() + self.options.timeout
        head, imports = header.read(self.options.path)
        try:
            self._child = SHARED.connect(head, imports, self.partition, deadline)
        except OSError as error:
            what = f"its Python {head.interpreter[0]} can't be started: {error.strerror}"
            raise AllotmentError(f"{self._place}: {what}", "Name one of this machine in its first line") from error
        found = self._ask({**request(self.options.path, self.partition, self.options.timeout), "ask": "sense"})
        if found is None:
            return Measurement.failed(f"did not end within {self.options.timeout:g} s")
        before = facts.read(self.partition, self.options.path)  # whether it asks for a bang, its judgement shows
        self._facts = replace(facts.told(found), bang=before.bang and found["bang"])
        facts.write(self.partition, self.name, self._facts)
        return Measurement(not found["failed"], found["message"] or "logged nothing")

    def test(self, measured: Measurement) -> Measurement:
        return self._judge("test", measured)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        return self._judge("anomaly", history[-1])

    @property
    def _place(self) -> Path:
        return facts.FOLDER / self.options.path.name

    def _judge(self, phase: str, measured: Measurement) -> Measurement:
        if self._child is None:
            return measured  # it did not end in time
        result = self._ask({"phase": phase})
        if result is None:
            return Measurement.failed(f"did not judge within {self.options.timeout:g} s")
        if phase == "anomaly":
            facts.write(self.partition, self.name, replace(self._facts, bang=bool(result["bang"])))
        self._end()
        return replace(measured, is_passed=not result["failed"], message=result["message"] or measured.message)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the child's answer; None, without a child any more, when its time is up."""
        child = self._child
        if child is None:
            return None
        try:
            answer = child.ask(request)
        except TimeoutError:
            self._end()
            return None
        except EOFError as error:
            self._end()
            fix = "Look at what it does, and whether its first line names a Python 3.9 or newer"
            raise AllotmentError(f"{self._place}: its process ended before it had a result", fix) from error
        if "error" in answer:
            self._end()
            raise AllotmentError(f"{self._place}: {answer['error']}", "Mend the module, or what it imports")
        return answer

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
