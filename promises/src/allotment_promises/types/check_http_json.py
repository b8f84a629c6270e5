# SPDX-License-Identifier: Apache-2.0
"""Promise: a JSON document of a URL has the expected value in a place."""

import json
from dataclasses import dataclass

from allotment.options import check_one_given
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.json_path import JsonPathProblem, find, number_of, shown
from allotment_promises.sensing.limits import check_limits, outside
from allotment_promises.sensing.web import BODY_LIMIT, NoAnswer, WebOptions, fetch, place


@dataclass(frozen=True, kw_only=True)
class Options(WebOptions):
    path: str = ""  # where the value is: keys and places in lists parted by '/', such as nodes/0/state; empty: all
    expected: str = ""  # what it must be, as text; true, false and null are these words
    minimum: float | None = None  # lowest good number
    maximum: float | None = None  # highest good number

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(self.minimum, self.maximum, required=False)
        has_limits = self.minimum is not None or self.maximum is not None
        if self.expected or has_limits:
            check_one_given(expected=self.expected, minimum=has_limits)


class CheckHttpJson(GenericPromise[Options]):
    """Passes when ``url`` answers 200 and JSON in which ``path`` leads to what is expected.

    It is the text ``expected``, or a number from ``minimum`` to ``maximum``; of a list or an object, how many it has.
    Without any of the three, something has to be there.

    Metrics: ``seconds`` until the answer, ``code``, ``value``, when it is a number or can be counted.
    """

    def target(self) -> str:
        return place(self.options.url)

    def sense(self) -> Measurement:
        options = self.options
        try:
            answer = fetch(options, self.partition, BODY_LIMIT + 1, {"Accept": "application/json"})
        except NoAnswer as error:
            return Measurement.failed(f"{options.url}: {error}")
        metrics = answer.metrics()
        if answer.code != 200:
            return Measurement.failed(f"{options.url} answers {answer.code}, expected 200", **metrics)
        if len(answer.body) > BODY_LIMIT:
            return Measurement.failed(f"{options.url} answers more than {BODY_LIMIT:,} bytes", **metrics)
        try:
            value = find(json.loads(answer.body), options.path)
        except (ValueError, RecursionError) as error:
            return Measurement.failed(f"{options.url} answers no JSON: {error}", **metrics)
        except JsonPathProblem as error:
            return Measurement.failed(f"{options.url}: {error}", **metrics)
        number = number_of(value)
        if number is not None:
            metrics["value"] = Metric(number)
        problem = self._problem(value, number)
        return Measurement(not problem, f"{options.url}: {options.path or 'it'} is {shown(value)}{problem}", metrics)

    def _problem(self, value: object, number: float | None) -> str:
        options = self.options
        if options.expected:
            return "" if shown(value) == options.expected else f", expected {options.expected}"
        if options.minimum is None and options.maximum is None:
            return ""
        return ", expected a number" if number is None else outside(number, options.minimum, options.maximum)
