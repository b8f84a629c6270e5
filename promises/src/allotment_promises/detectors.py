# SPDX-License-Identifier: Apache-2.0
"""Anomaly detectors: each judges measurements of the past, oldest first, the last one being new; usable apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from allotment_promises.measurement import Measurement

Points = Sequence[tuple[float, float]]  # (UTC epoch in seconds, value), oldest first
_FEWEST = 8  # points; fewer show no trend and no habit
_MOST = 150  # points of which each pair is looked at; of more, medians of neighbours are taken
_CHANCE = 3.29  # standard deviations: chance goes beyond in 1 of 1,000
_FAR = 10.0  # a trend is not believed for more than so many times the time in which it was seen


def k_of_n(history: Sequence[Measurement], failures: int, window: int, over: float = 0.0) -> Measurement:
    """Fail when the newest and at least ``failures`` of the newest ``window`` failed, none older than ``over`` s."""
    newest = history[-1]
    if newest.is_passed:
        return newest
    counted = [item for item in history[-window:] if not over or item.time >= newest.time - over]
    count = sum(not item.is_passed for item in counted)
    if count >= failures:
        return newest
    message = f"failed {count} of {window} times, tolerated below {failures}: {newest.message}"
    return replace(newest, is_passed=True, message=message)


def sustained(history: Sequence[Measurement], seconds: float) -> Measurement:
    """Fail when the newest failed, and nothing but failures was measured for ``seconds`` up to it.

    The time between two measurements counts for at most half of ``seconds``: neither a clock that jumps nor a machine
    that was suspended makes one failure long.
    """
    newest = history[-1]
    if newest.is_passed:
        return newest
    good = [at for at, item in enumerate(history) if item.is_passed]
    streak = history[good[-1] + 1 if good else 0 :]
    lasted = sum(min(max(after.time - before.time, 0.0), seconds / 2) for before, after in pairwise(streak))
    if lasted >= seconds:
        return newest
    message = f"failed for {lasted:.0f} s, tolerated below {seconds:g} s: {newest.message}"
    return replace(newest, is_passed=True, message=message)


def forecast(series: Points, limit: float, horizon: float) -> float | None:
    """Return in how many seconds the values' trend reaches ``limit``; None when it does not within ``horizon`` seconds.

    The trend is the median of the slopes between all pairs of points, which up to 29 % of wild values do not bend
    (P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63, 1968). One
    that chance would give in more than 1 of 1,000 such series is none (H. B. Mann, "Nonparametric tests against trend",
    Econometrica 13, 1945), nor is it believed for more than ten times the time in which it was seen.
    """
    found = [(at, value) for at, value in series if math.isfinite(value)]
    if len(found) < _FEWEST:
        return None
    newest, span = found[-1][0], found[-1][0] - found[0][0]
    points = _thinned(found)
    slopes = [
        (late[1] - early[1]) / (late[0] - early[0]) for early, late in combinations(points, 2) if late[0] > early[0]
    ]
    count = len(points)
    rises = sum((slope > 0) - (slope < 0) for slope in slopes)
    if abs(rises) <= _CHANCE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18):
        return None
    slope = statistics.median(slopes)
    level = statistics.median(value + slope * (newest - at) for at, value in points)
    if slope == 0 or (limit - level) / slope < 0:  # it moves away
        return None
    seconds = (limit - level) / slope
    return seconds if seconds <= min(horizon, _FAR * span) else None


def outlier(series: Points, value: float) -> float:
    """Return how far ``value`` is from the values' median, in robust standard deviations; above 3.5 is unusual.

    It is the modified z-score (B. Iglewicz and D. C. Hoaglin, "How to detect and handle outliers", ASQC 1993): the
    median absolute deviation takes the place of the standard deviation, so that outliers do not hide each other. Where
    more than half of the values are equal, the mean absolute deviation takes its place. Negative: below the median; 0
    when the past is too short; infinite when all values of the past are equal and this one is another.
    """
    values = [item for _, item in series if math.isfinite(item)]
    if len(values) < _FEWEST:
        return 0.0
    middle = statistics.median(values)
    distances = [abs(item - middle) for item in values]
    deviation = statistics.median(distances) / 0.6745 or statistics.fmean(distances) * 1.253314
    if deviation == 0:
        return math.copysign(math.inf, value - middle) if value != middle else 0.0
    return (value - middle) / deviation


def _thinned(points: Points) -> Points:
    """Return at most ``_MOST`` points: each the medians of some that follow one another."""
    size = math.ceil(len(points) / _MOST)
    if size <= 1:
        return points
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [
        (statistics.median(at for at, _ in group), statistics.median(item for _, item in group)) for group in groups
    ]
