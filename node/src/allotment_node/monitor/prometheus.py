# SPDX-License-Identifier: Apache-2.0
"""The state of promises in Prometheus' text format, as node_exporter's textfile collector reads it."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from allotment.messages.promise_states import PromiseState, PromiseStates

# Prometheus wants base units, in plural, at the end of a name.
UNITS: Final = {
    "": "",
    "s": "seconds",
    "B": "bytes",
    "1": "ratio",
    "1/s": "per_second",
    "B/s": "bytes_per_second",
    "degC": "celsius",
    "%": "percent",
}
METRIC: Final = "allotment_promise_metric_"
_FIXED: Final[tuple[tuple[str, str, Callable[[PromiseState], float]], ...]] = (
    ("allotment_promise_passed", "Whether the promise is kept.", lambda item: item.status == "passed"),
    ("allotment_promise_error", "Whether the promise could not be judged.", lambda item: item.status == "error"),
    ("allotment_promise_silenced", "Whether the promise is silenced.", lambda item: item.silence is not None),
    ("allotment_promise_changed_timestamp_seconds", "When the promise changed last.", lambda item: item.since),
    ("allotment_promise_run_timestamp_seconds", "When the promise ran last.", lambda item: item.time),
    ("allotment_promise_run_duration_seconds", "How long this run took.", lambda item: item.seconds),
)


def text(states: PromiseStates) -> str:
    """Return all promises with their metrics, in families; a sample has the labels node, partition, instance, promise.

    A promise's metric ``free`` in ``B`` is ``allotment_promise_metric_free_bytes``.
    """
    blocks = []
    labels = [_labels(states.node, item) for item in states.promises]
    for name, meaning, value in _FIXED:
        samples = [f"{name}{label} {_number(value(item))}" for label, item in zip(labels, states.promises, strict=True)]
        blocks.append(_family(name, meaning, samples))
    families: dict[str, dict[str, str]] = {}  # name -> labels -> sample: of two with one name the first counts
    meanings: dict[str, str] = {}
    for label, item in zip(labels, states.promises, strict=True):
        for key, metric in item.metrics.items():
            name = metric_name(key, metric.unit)
            families.setdefault(name, {}).setdefault(label, f"{name}{label} {_number(metric.value)}")
            meanings.setdefault(name, f"Metric {key} of promises, in {metric.unit or 'numbers'}.")
    for name, samples_of in sorted(families.items()):
        blocks.append(_family(name, meanings[name], samples_of.values()))
    return "".join(blocks)


def metric_name(name: str, unit: str) -> str:
    """Return what a metric of a promise is called."""
    word = _word(name)
    suffix = UNITS[unit] if unit in UNITS else _word(unit)
    is_said = not suffix or word == suffix or word.endswith(f"_{suffix}")
    return f"{METRIC}{word}" if is_said else f"{METRIC}{word}_{suffix}"


def _family(name: str, meaning: str, samples: Iterable[str]) -> str:
    escaped = meaning.replace("\\", "\\\\").replace("\n", "\\n")
    return "\n".join((f"# HELP {name} {escaped}", f"# TYPE {name} gauge", *samples, ""))


def _labels(node: str, item: PromiseState) -> str:
    values = {"node": node, "partition": item.partition, "instance": item.instance, "promise": item.name}
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in values.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _word(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", value).strip("_") or "unnamed"


def _number(value: float) -> str:
    return repr(float(value))
