# SPDX-License-Identifier: Apache-2.0
"""Job, attempt and lease: what the farm gives to a test node, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allotment.codec import Json, message


class Outcome(StrEnum):
    """How an attempt ended; only ``passed`` and ``failed`` say something about the software."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"  # the job's own time limit
    CANCELLED = "cancelled"
    INFRASTRUCTURE = "infrastructure"  # the test node could not do its part: disk, network, its own bug
    LOST = "lost"  # the test node fell silent and the lease expired


RETRIED = frozenset({Outcome.INFRASTRUCTURE, Outcome.LOST})  # outcomes that another attempt may mend


class JobState(StrEnum):
    """Where a job is in its life."""

    WAITING = "waiting"
    LEASED = "leased"
    DONE = "done"


@message("job", format=1)
@dataclass(frozen=True)
class Job:
    """One software release in one mode on one platform, at one revision."""

    id: int
    project: str
    revision: str  # full git commit hash
    release: str
    profile: str  # software.cfg's path inside the revision
    kind: str = "release"  # a job kind that a plugin registers
    platform: str = "any"
    timeout: float = 3600.0  # seconds
    input_hash: str | None = None  # of everything the job can see; None while the engine does not know it
    options: Mapping[str, Json] = field(default_factory=dict)


@message("lease", format=1)
@dataclass(frozen=True)
class Lease:
    """A test node's right to work on a job until ``expires``; each answer of the node carries ``fencing``."""

    id: int
    job: Job
    attempt: int  # 1 for the first
    node: str
    fencing: int  # grows with every lease of the job; an answer with an older one is refused
    expires: float  # UTC epoch, seconds, by the engine's clock
    seconds: float  # how long a renewal lasts


class CaseOutcome(StrEnum):
    """How a test case ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class TestCase:
    """One test case of a job."""

    __test__ = False  # not a class of tests

    suite: str
    name: str
    outcome: CaseOutcome
    seconds: float = 0.0
    message: str = ""
    line: int | None = None  # of the log, where the case is named; 1 is the first


@dataclass(frozen=True)
class Step:
    """One step of an attempt."""

    name: str
    started: float  # UTC epoch, seconds
    ended: float | None = None
    outcome: Outcome | None = None  # None while it runs


@dataclass(frozen=True)
class BuiltPart:
    """A shared part that an attempt needed."""

    name: str
    version: str
    started: float  # UTC epoch, seconds
    seconds: float  # 0 when it was in the store
    is_reused: bool = False


@dataclass(frozen=True)
class KeptPromise:
    """How a promise of a tested instance was at the end of its deployment."""

    instance: str
    name: str
    status: str  # "passed", "failed" or "error" (a bug in the promise)
    message: str


@message("attempt", format=1)
@dataclass(frozen=True)
class Attempt:
    """One try at a job by one test node."""

    job: int
    number: int
    node: str
    started: float  # UTC epoch, seconds
    ended: float | None = None
    outcome: Outcome | None = None
    reason: str = ""  # one line, for people
    manifest: str | None = None  # sha256 of the manifest that the build made
    steps: tuple[Step, ...] = ()
    cases: tuple[TestCase, ...] = ()
    parts: tuple[BuiltPart, ...] = ()
    promises: tuple[KeptPromise, ...] = ()
