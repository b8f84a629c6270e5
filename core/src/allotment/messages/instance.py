# SPDX-License-Identifier: Apache-2.0
"""The three files through which recipes meet the world: instance.json in, requests.json and published.json out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allotment.codec import Json, message
from allotment.messages.manifest import DEFAULT_TYPE


class InstanceState(StrEnum):
    """The state that is wanted of an instance."""

    STARTED = "started"
    STOPPED = "stopped"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class SharedInstance:
    """A tenant inside another instance."""

    name: str
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class ChildAnswer:
    """What the master last said of a requested child."""

    state: InstanceState
    published: Mapping[str, Json] = field(default_factory=dict)
    instance: str = ""  # the master's identifier of the child


@message("instance", format=1)
@dataclass(frozen=True)
class InstanceInput:
    """``instance.json``: all that the recipes of an instance may know of the world outside its partition."""

    instance: str  # the master's identifier, such as "inst-12"
    name: str  # what the requester called it
    tree: str  # name of the root instance
    node: str
    partition: str
    state: InstanceState
    software_type: str
    manifest: str  # sha256 of the release manifest
    addresses: tuple[str, ...]  # IP addresses that only this partition listens on
    parameters: Mapping[str, Json] = field(default_factory=dict)
    shared: tuple[SharedInstance, ...] = ()
    answers: Mapping[str, ChildAnswer] = field(default_factory=dict)  # child's name -> last known answer


@dataclass(frozen=True)
class ChildRequest:
    """A child that an instance asks for; ``name`` is unique among the instance's children."""

    name: str
    release: str  # name of a release, or the sha256 of a manifest
    software_type: str = DEFAULT_TYPE
    state: InstanceState = InstanceState.STARTED
    parameters: Mapping[str, Json] = field(default_factory=dict)
    sla: Mapping[str, str] = field(default_factory=dict)  # allocation constraints, such as {"node": "node-1"}
    shared: bool = False


@message("requests", format=1)
@dataclass(frozen=True)
class InstanceRequests:
    """``requests.json``: the children that an instance asks for."""

    complete: bool  # False after a partial run (parts waiting): such a list may only add children
    requests: tuple[ChildRequest, ...] = ()
    waiting: tuple[str, ...] = ()  # "part: what it waits for", in the order of the profile


@message("published", format=1)
@dataclass(frozen=True)
class InstancePublished:
    """``published.json``: the connection parameters of an instance and of each shared instance in it."""

    values: Mapping[str, Json] = field(default_factory=dict)
    shared: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)  # shared instance's name -> values
    errors: tuple[str, ...] = ()  # what the instance wants its requester to be told
    shared_errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the same, to a shared instance's owner
