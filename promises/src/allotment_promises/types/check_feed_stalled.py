# SPDX-License-Identifier: Apache-2.0
"""Promise: something still writes to a feed, and its last item is good news."""

import time
from dataclasses import dataclass
from pathlib import Path

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.options import check_one_given
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.feeds import FeedProblem, Item, parse_feed
from allotment_promises.sensing.limits import check_above_zero
from allotment_promises.sensing.logs import compile_pattern
from allotment_promises.sensing.web import NoAnswer, WebOptions, fetch, place

_LIMIT = 8 << 20  # bytes of a feed
_SHOWN = 200  # characters of a title


@dataclass(frozen=True, kw_only=True)
class Options(WebOptions):
    url: str = ""  # of the feed, RSS or Atom
    feed_path: Path | None = None  # file of the feed in place of url, relative to the partition
    title: str = ""  # regular expression of Python; only items with it in their title count
    ok_pattern: str = ""  # regular expression that the newest item must hold in title or text
    ko_pattern: str = ""  # regular expression that the newest item must not hold
    maximum_age: float = 86400.0  # seconds since the newest item

    def __post_init__(self) -> None:
        check_one_given(url=self.url, feed_path=self.feed_path)
        if self.url:
            super().__post_init__()
        for name in ("title", "ok_pattern", "ko_pattern"):
            compile_pattern(name.replace("_", "-"), getattr(self, name))
        check_above_zero(maximum_age=self.maximum_age)


class CheckFeedStalled(GenericPromise[Options]):
    """Passes while the newest item of a feed is at most ``maximum-age`` old, and tells of no failure.

    Metrics: ``age`` of the newest item in seconds, ``items`` that count.
    """

    def target(self) -> str:
        return place(self.options.url) if self.options.url else str(self.partition / (self.options.feed_path or ""))

    def sense(self) -> Measurement:
        name = self.options.url or str(self.options.feed_path)
        try:
            items = parse_feed(self._read())
        except (NoAnswer, AllotmentError) as error:
            return Measurement.failed(f"{name}: {error}")
        except FeedProblem as problem:
            return Measurement.failed(f"{name} {problem}")
        title = compile_pattern("title", self.options.title)
        counted = [(item.time, item) for item in items if item.time is not None and title.search(item.title)]
        if not counted:
            which = f" with {self.options.title!r} in its title" if self.options.title else ""
            return Measurement.failed(f"{name} has no item{which} and a time, of {len(items)} items")
        newest = max(counted, key=lambda found: found[0])
        return self._judge(name, *newest, len(counted))

    def _judge(self, name: str, moment: float, item: Item, count: int) -> Measurement:
        options = self.options
        age = time.time() - moment
        metrics = {"age": Metric(age, "s"), "items": Metric(count)}
        text = f"{name}: the newest item, {item.title[:_SHOWN]!r}, is {show_seconds(max(age, 0.0))} old"
        said = f"{item.title}\n{item.text}"
        if options.ko_pattern and compile_pattern("ko-pattern", options.ko_pattern).search(said):
            return Measurement.failed(f"{text} and holds {options.ko_pattern!r}", **metrics)
        if not compile_pattern("ok-pattern", options.ok_pattern).search(said):
            return Measurement.failed(f"{text}, expected it to hold {options.ok_pattern!r}", **metrics)
        if age > options.maximum_age:
            return Measurement.failed(f"{text}, expected at most {show_seconds(options.maximum_age)}", **metrics)
        return Measurement.passed(text, **metrics)

    def _read(self) -> bytes:
        """Return the feed; raises NoAnswer or AllotmentError."""
        if self.options.feed_path is not None:
            data = read_limited(self.partition / self.options.feed_path, _LIMIT)
            if data is None:
                raise NoAnswer("No such file or directory")
            return data
        answer = fetch(self.options, self.partition, _LIMIT)
        if answer.code != 200:
            raise NoAnswer(f"answers {answer.code}, expected 200")
        return answer.body
