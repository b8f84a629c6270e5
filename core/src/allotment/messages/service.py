# SPDX-License-Identifier: Apache-2.0
"""What the master's API says and is asked: the bodies and answers of ``/api/v1`` that are not messages of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment.codec import Json, message
from allotment.messages.desired_state import InstanceStatus, ObservedPromise, SoftwareStatus, SupplyState
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.secret import Secret


@dataclass(frozen=True)
class NodeRegistration:
    """A node makes itself known: how many partitions it lends, and what allocation may ask of it."""

    name: str
    partitions: int
    platform: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeCredentials:
    """The answer to a registration; the token is shown this once."""

    name: str
    token: Secret


@dataclass(frozen=True)
class TokenRequest:
    """Ask for a new token."""

    scope: str  # "admin", "user", "farm", "enrol" or "node:<name>"


@dataclass(frozen=True)
class TokenAnswer:
    """A new token; it is shown this once."""

    scope: str
    token: Secret


@dataclass(frozen=True)
class SupplyRequest:
    """Offer a release on a node, or take it away."""

    node: str
    release: str  # a release's name, or a manifest's sha256
    state: SupplyState = SupplyState.AVAILABLE
    development: bool = False


@dataclass(frozen=True)
class ServiceRequest:
    """What is wanted of the instance whose name is in the URL; sent again, it changes what differs."""

    release: str  # a release's name, or a manifest's sha256
    software_type: str = DEFAULT_TYPE
    parameters: Mapping[str, Json] = field(default_factory=dict)
    state: InstanceState = InstanceState.STARTED
    sla: Mapping[str, str] = field(default_factory=dict)  # allocation constraints, such as {"node": "node-1"}


@dataclass(frozen=True)
class StateRequest:
    """Start, stop or destroy the instance whose name is in the URL."""

    state: InstanceState


@message("node-info", format=1)
@dataclass(frozen=True)
class NodeInfo:
    """A node as the master knows it."""

    name: str
    platform: str
    partitions: int
    free: int  # partitions without an instance
    labels: Mapping[str, str]
    seen: float | None  # UTC epoch of the node's last call; None: never
    sequence: int


@message("supply-info", format=1)
@dataclass(frozen=True)
class SupplyInfo:
    """A release on a node: what is wanted, and what the node last said of it."""

    node: str
    manifest: str
    release: str  # the manifest's name
    state: SupplyState
    development: bool
    status: SoftwareStatus | None  # None: the node has not reported on it
    error: str = ""


@message("release-info", format=1)
@dataclass(frozen=True)
class ReleaseInfo:
    """A release that the master has a manifest of."""

    name: str
    manifest: str  # sha256
    added: float  # UTC epoch, seconds
    signed: bool
    software_types: tuple[str, ...]


@message("instance-info", format=1)
@dataclass(frozen=True)
class InstanceInfo:
    """An instance as the master knows it: what is wanted, where it is, and what its node last said of it."""

    name: str  # a child's is its parent's, a slash, and what the parent called it
    instance: str  # identifier, such as "inst-12"; a later instance of the same name has another one
    tree: str  # name of the root instance
    parent: str | None  # name of the instance that asked for it; None: a root
    release: str  # as it was asked for
    manifest: str  # sha256
    software_type: str
    state: InstanceState  # wanted
    status: InstanceStatus  # observed, for the current generation
    node: str | None  # None: no place yet, ``error`` says why
    partition: str | None
    published: Mapping[str, Json] = field(default_factory=dict)
    promises: tuple[ObservedPromise, ...] = ()
    error: str = ""
    generation: int = 0
