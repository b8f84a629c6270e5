# SPDX-License-Identifier: Apache-2.0
"""The result of one run of one promise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allotment.secret import scrub
from allotment_promises.generic import Layer
from allotment_promises.measurement import Metric

MESSAGE_LIMIT = 1000  # characters
TARGET_LIMIT = 300  # characters
METRICS_LIMIT = 20


class PromiseStatus(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"  # it could not be judged: a bug in the promise, wrong options, an unreadable file


@dataclass(frozen=True)
class PromiseResult:
    """One run of one promise, judged."""

    name: str
    status: PromiseStatus
    message: str
    started: float  # UTC epoch, seconds
    seconds: float
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    layer: int = Layer.APPLICATION
    target: str = ""  # see GenericPromise.target; empty when its process crashed
    after: tuple[str, ...] = ()  # see PromiseFile.after


def clean(message: str, secrets: Iterable[str] = ()) -> str:
    """Return text that may be shown: without the plain ``secrets`` and control characters, cut in the middle."""
    text = scrub(message, secrets).strip()
    if len(text) > MESSAGE_LIMIT:
        half = MESSAGE_LIMIT // 2 - 10
        text = f"{text[:half]} [... cut ...] {text[-half:]}"
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
