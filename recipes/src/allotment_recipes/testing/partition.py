# SPDX-License-Identifier: Apache-2.0
"""An instance to be: a partition, its input, and what came out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allotment.codec import dumps, loads
from allotment.messages.instance import (
    ChildAnswer,
    InstanceInput,
    InstancePublished,
    InstanceRequests,
    InstanceState,
    SharedInstance,
)
from allotment_recipes.engine import BuildEngine, InstanceResult, InstanceRun
from allotment_recipes.testing.place import Place

ADDRESSES = ("127.0.0.9", "127.0.1.9")


def given_instance(**fields: Any) -> InstanceInput:
    """Return an instance's input as a node would write it; ``fields`` replace what stands here."""
    defaults: dict[str, Any] = {
        "instance": "inst-1",
        "name": "shop",
        "tree": "shop",
        "node": "node-1",
        "partition": "part0",
        "state": InstanceState.STARTED,
        "software_type": "default",
        "manifest": "f" * 64,
        "addresses": ADDRESSES,
    }
    return InstanceInput(**{**defaults, **fields})


@dataclass
class Partition(Place):
    """A partition and the release folder whose ``instance.cfg`` is run in it.

    Its attributes are the instance's input: set them, ``run``, and look at ``published``, ``requests`` and ``tree()``.
    """

    folder: Path
    software: Path
    engine: BuildEngine
    state: InstanceState = InstanceState.STARTED
    software_type: str = "default"
    addresses: tuple[str, ...] = ADDRESSES
    parameters: Mapping[str, Any] = field(default_factory=dict)
    shared: tuple[SharedInstance, ...] = ()
    answers: Mapping[str, ChildAnswer] = field(default_factory=dict)

    def run(self, profile: str | None = None, timeout: float = 60.0) -> InstanceResult:
        """Write the input (and the profile), process the partition, return the result."""
        if profile is not None:
            self.write_profile(profile)
        return self._process(self.profile, timeout)

    @property
    def profile(self) -> Path:
        return self.software / "instance.cfg"

    @property
    def log(self) -> Path:
        """What the runs said."""
        return self.folder / ".allotment" / "run.log"

    @property
    def requests(self) -> InstanceRequests:
        """The children that were requested by the last run that was done or is waiting."""
        return loads(InstanceRequests, (self.folder / ".allotment" / "requests.json").read_bytes())

    @property
    def published(self) -> InstancePublished:
        """What was published; the values of secrets are readable here, as they are for the requester."""
        return loads(InstancePublished, (self.folder / ".allotment" / "published.json").read_bytes())

    def _run(self, profile: Path) -> str:
        result = self._process(profile, 60.0)
        return f"waiting: {', '.join(result.waiting)}" if result.waiting else result.error

    def _process(self, profile: Path, timeout: float) -> InstanceResult:
        state = self.folder / ".allotment"
        state.mkdir(parents=True, exist_ok=True)
        given = given_instance(
            partition=self.folder.name,
            state=self.state,
            software_type=self.software_type,
            addresses=self.addresses,
            parameters=self.parameters,
            shared=self.shared,
            answers=self.answers,
        )
        (state / "instance.json").write_bytes(dumps(given))
        return self.engine.instance(InstanceRun(self.software, self.folder, profile.name, timeout), self.log)
