# SPDX-License-Identifier: Apache-2.0
"""What a test node and the engine say to each other: HTTP/1.1 and JSON, the test node always dials.

Every call carries ``Authorization: Bearer <token>``. An answer other than 2xx is ``{"error": "...", "fix": "..."}``.
After a 5xx trying again may help; 507 says that the farm's disk is full.

======  ====================================  ===========================================================
POST    /wire/v1/nodes                        :class:`NodeHello` -> :class:`NodeWelcome`
POST    /wire/v1/lease                        :class:`LeaseRequest` -> Lease, or 204 when nothing came in ``wait`` s
POST    /wire/v1/leases/<id>/heartbeat        :class:`Heartbeat` -> :class:`HeartbeatAnswer`
POST    /wire/v1/leases/<id>/log              raw bytes; query ``fencing`` and ``offset`` -> :class:`LogAnswer`
POST    /wire/v1/leases/<id>/steps            :class:`StepReport` -> 204
POST    /wire/v1/leases/<id>/result           :class:`JobResult` -> 204; sending the same result again is 204 too
PUT     /wire/v1/blobs/<sha256>               raw bytes -> 201
GET     /wire/v1/source/<revision>            the revision's files as an uncompressed tar
GET     /wire/v1/cache                        -> :class:`CacheOffer`
======  ====================================  ===========================================================

A call with an old fencing token, or after the lease expired and was given away, is 409 and changes nothing: the test
node drops the job. Bytes of a log at an offset that the engine has already are acknowledged and not stored twice; a
gap is 416 with the acknowledged offset in :class:`LogAnswer`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment.codec import message
from allotment.messages.job import BuiltPart, KeptPromise, Outcome, Step, TestCase
from allotment.messages.manifest import ReleaseManifest


@message("node-hello", format=1)
@dataclass(frozen=True)
class NodeHello:
    """A test node makes itself known, at its start and after every reconnection."""

    name: str
    platform: str
    slots: int = 1  # jobs at a time
    version: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)  # what its jobs see of it, such as versions, by name


@message("node-welcome", format=1)
@dataclass(frozen=True)
class NodeWelcome:
    """The engine's answer: how often it wants to hear from the test node."""

    heartbeat: float  # seconds between two heartbeats


@message("cache-offer", format=1)
@dataclass(frozen=True)
class CacheOffer:
    """Where the farm's binary cache is, and whose parts are taken from it; asked for before each job."""

    url: str = ""  # "" when the farm has none now
    keys: tuple[str, ...] = ()  # public keys of the builders that the farm's operator has named


@message("lease-request", format=1)
@dataclass(frozen=True)
class LeaseRequest:
    """A test node has a free slot and waits up to ``wait`` seconds for a job."""

    node: str
    wait: float = 20.0
    kinds: tuple[str, ...] = ("release",)
    load: float = 0.0  # one-minute load average
    memory_free: int = 0  # bytes
    disk_free: int = 0  # bytes, of the test node's folder
    refuses: str = ""  # why the test node takes no job now, such as a full disk; "": it does


@message("heartbeat", format=1)
@dataclass(frozen=True)
class Heartbeat:
    """The lease is still worked on; renews it."""

    fencing: int
    load: float = 0.0  # one-minute load average
    memory_free: int = 0  # bytes
    disk_free: int = 0  # bytes, of the test node's folder
    refuses: str = ""  # why the test node takes no other job now


@message("heartbeat-answer", format=1)
@dataclass(frozen=True)
class HeartbeatAnswer:
    """Until when the lease now runs, and whether the job was cancelled."""

    expires: float  # UTC epoch, seconds
    cancel: bool = False


@message("log-answer", format=1)
@dataclass(frozen=True)
class LogAnswer:
    """How many bytes of the log the engine has on disk: send on from there."""

    acknowledged: int


@message("step-report", format=1)
@dataclass(frozen=True)
class StepReport:
    """All steps and parts of the attempt so far; the last step may be running."""

    fencing: int
    steps: tuple[Step, ...] = ()
    parts: tuple[BuiltPart, ...] = ()


@message("job-result", format=1)
@dataclass(frozen=True)
class JobResult:
    """The end of an attempt. The manifest's closure was uploaded as a blob before."""

    fencing: int
    outcome: Outcome
    reason: str = ""
    steps: tuple[Step, ...] = ()
    cases: tuple[TestCase, ...] = ()
    manifest: ReleaseManifest | None = None
    parts: tuple[BuiltPart, ...] = ()
    promises: tuple[KeptPromise, ...] = ()
    given_back: bool = False  # the test node stops, or is no longer what the job was given to: not a try at the job
