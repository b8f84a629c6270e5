# SPDX-License-Identifier: Apache-2.0
"""Promise: a URL answers with the expected status code, and the expected page."""

from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.logs import compile_pattern
from allotment_promises.sensing.web import BODY_LIMIT, NoAnswer, WebOptions, fetch, place


@dataclass(frozen=True, kw_only=True)
class Options(WebOptions):
    http_code: int = 200  # expected status code; 0 accepts any answer
    ignore_code: bool = False  # accept any status code
    content: str = ""  # regular expression that must be found in the page's first 1,048,576 bytes

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.http_code == 0 or 100 <= self.http_code <= 599):
            raise OptionProblem("http-code", f"{self.http_code} is no status code", "Write one like 200, or 0 for any")
        compile_pattern("content", self.content)


class CheckUrlAvailable(GenericPromise[Options]):
    """Passes when ``url`` answers with ``http-code`` within ``timeout``, and the page holds ``content``.

    Metrics: ``seconds`` until the answer, ``code``.
    """

    def target(self) -> str:
        return place(self.options.url)

    def sense(self) -> Measurement:
        options = self.options
        try:
            answer = fetch(options, self.partition, BODY_LIMIT if options.content else 0)
        except NoAnswer as error:
            return Measurement.failed(f"{options.url}: {error}")
        found = f"{options.url} answers {answer.code}"
        if not options.ignore_code and options.http_code not in (0, answer.code):
            return Measurement.failed(f"{found}, expected {options.http_code}", **answer.metrics())
        if options.content and not compile_pattern("content", options.content).search(
            answer.body.decode("utf-8", "replace")
        ):
            return Measurement.failed(f"{found} with a page that does not hold {options.content!r}", **answer.metrics())
        return Measurement.passed(found, **answer.metrics())
