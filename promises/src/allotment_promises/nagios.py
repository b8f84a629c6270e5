# SPDX-License-Identifier: Apache-2.0
"""What a monitoring plugin prints: text for people, and performance data after ``|``, as Nagios and Icinga read it.

Written to https://www.monitoring-plugins.org/doc/guidelines.html (output, ranges, performance data) and, for units,
https://icinga.com/docs/developer-guidelines/latest/doc/300-plugins/304-performance-data-metrics/. Both are strict
here: what does not follow them to the letter is text, so that any other program's ``|`` stays what it is.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from allotment_promises.measurement import Metric

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = rf"(?:@?(?:(?:~|{_NUMBER})?:)?(?:{_NUMBER})?)"
_ITEM = re.compile(
    r"\s*(?:'(?P<quoted>(?:[^'\n]|'')+)'|(?P<label>[^\s='|;]+))"
    rf"=(?:U|(?P<value>{_NUMBER})(?P<unit>%|[A-Za-z][A-Za-z0-9]{{0,9}})?)"
    rf"(?:;{_RANGE}){{0,2}}(?:;(?:{_NUMBER})?){{0,2}}(?=\s|\Z)",
    re.ASCII,
)
_STATUS = re.compile(r"\b(OK|WARNING|CRITICAL|UNKNOWN)\b")

_BASE = {  # unit -> factor, base unit; another unit is kept as it is
    "%": (0.01, "1"),
    "c": (1.0, ""),
    "ns": (1e-9, "s"),
    "us": (1e-6, "s"),
    "ms": (1e-3, "s"),
    "s": (1.0, "s"),
    "B": (1.0, "B"),
    "kB": (1e3, "B"),
    **{f"{letter}B": (1000.0**power, "B") for power, letter in enumerate("KMGTPE", 1)},
    **{f"{letter}iB": (1024.0**power, "B") for power, letter in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True)
class PluginOutput:
    """What a program printed, taken apart."""

    text: str  # without performance data
    metrics: Mapping[str, Metric]  # in base units; their thresholds are the plugin's own affair
    is_nagios: bool  # it has performance data, or its first line a plugin's status: OK, WARNING, CRITICAL, UNKNOWN


def parse(output: str) -> PluginOutput:
    """Take a program's output apart: the first line, then long text; performance data after the first ``|`` of each.

    What follows the ``|`` of the long text is performance data up to the end, on several lines if need be.
    """
    first, _, rest = output.strip().partition("\n")
    text, metrics = _split(first)
    more, found = _split(rest)
    whole = f"{text}\n{more}".strip()
    metrics = {**metrics, **found}
    is_nagios = bool(metrics) or _STATUS.search(first) is not None
    return PluginOutput(whole, metrics, is_nagios)


def _split(text: str) -> tuple[str, dict[str, Metric]]:
    before, pipe, after = text.partition("|")
    metrics = performance_data(after) if pipe else None
    return (text, {}) if not metrics else (before.rstrip(), metrics)


def performance_data(text: str) -> dict[str, Metric] | None:
    """Return the metrics of performance data, None if any of it is wrong. Values that are unknown (U) are left out."""
    found: dict[str, Metric] = {}
    position, end = 0, len(text.rstrip())
    while position < end:
        item = _ITEM.match(text, position)
        if item is None:
            return None
        position = item.end()
        if item["value"] is None:
            continue
        factor, unit = _BASE.get(item["unit"] or "", (1.0, item["unit"] or ""))
        value = float(item["value"]) * factor
        if math.isfinite(value):
            found[(item["quoted"] or item["label"]).replace("''", "'")] = Metric(value, unit)
    return found
