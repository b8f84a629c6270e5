# SPDX-License-Identifier: Apache-2.0
"""Desired state, from master to node, and observed state, back: all that the two ever say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allotment.codec import Json, message
from allotment.messages.instance import (
    ChildAnswer,
    InstancePublished,
    InstanceRequests,
    InstanceState,
    SharedInstance,
)


@message("desired-state", format=1)
@dataclass(frozen=True)
class DesiredState:
    """What one partition should be: self-contained, stored by the node as it came, and enough to work from alone."""

    partition: str
    generation: int  # grows with every change of this document; an older one never replaces a newer one
    issuer: str  # identity of the master that wrote it
    instance: str
    name: str
    tree: str
    manifest: str  # sha256 of the release manifest
    software_type: str
    state: InstanceState
    parameters: Mapping[str, Json] = field(default_factory=dict)
    shared: tuple[SharedInstance, ...] = ()
    answers: Mapping[str, ChildAnswer] = field(default_factory=dict)


class SupplyState(StrEnum):
    """Whether a node should have a software release."""

    AVAILABLE = "available"
    REMOVED = "removed"


@dataclass(frozen=True)
class Supply:
    """A software release that is offered on a node."""

    manifest: str  # sha256
    state: SupplyState = SupplyState.AVAILABLE
    development: bool = False  # an unsigned manifest is accepted by nodes that allow development


@message("node-desired-state", format=1)
@dataclass(frozen=True)
class NodeDesiredState:
    """The master's answer to a node's long poll: everything that is wanted of the node."""

    sequence: int  # pass it as ``since`` in the next poll; it grows with every change that concerns the node
    supplies: tuple[Supply, ...] = ()
    partitions: tuple[DesiredState, ...] = ()


class SoftwareStatus(StrEnum):
    """Where a node is with a software release."""

    BUILDING = "building"
    AVAILABLE = "available"
    FAILED = "failed"
    REMOVED = "removed"


class InstanceStatus(StrEnum):
    """Where an instance is: ``green`` is started with all promises kept."""

    REQUESTED = "requested"  # no node has reported on it
    WAITING = "waiting"  # processed, but parts wait for answers of children
    PROCESSING = "processing"
    GREEN = "green"
    RED = "red"  # started, but a promise is broken
    FAILED = "failed"  # could not be processed
    STOPPED = "stopped"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class ObservedSoftware:
    """What a node reports of one software release."""

    manifest: str
    status: SoftwareStatus
    error: str = ""


@dataclass(frozen=True)
class ObservedPromise:
    """The last result of one promise."""

    name: str
    status: str  # "passed", "failed" or "error" (a bug in the promise)
    message: str
    time: float  # UTC epoch, seconds
    silence: str = ""  # while it is silenced: by whom, and why; then it makes no instance red


@dataclass(frozen=True)
class ObservedInstance:
    """What a node reports of one partition, for the generation it has processed."""

    partition: str
    instance: str
    generation: int
    status: InstanceStatus
    error: str = ""
    requests: InstanceRequests | None = None  # None: not processed far enough to know
    published: InstancePublished | None = None
    promises: tuple[ObservedPromise, ...] = ()


@message("observed-state", format=1)
@dataclass(frozen=True)
class ObservedState:
    """A node's report; it may name only what has changed since the last acknowledged one."""

    software: tuple[ObservedSoftware, ...] = ()
    instances: tuple[ObservedInstance, ...] = ()
