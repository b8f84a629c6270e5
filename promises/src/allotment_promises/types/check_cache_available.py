# SPDX-License-Identifier: Apache-2.0
"""Promise: a web cache answers from what it keeps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero
from allotment_promises.sensing.web import BODY_LIMIT, NoAnswer, WebOptions, fetch, place

_TELLING = ("x-cache", "x-cache-status", "x-proxy-cache", "cf-cache-status")  # no standard, but usual


@dataclass(frozen=True, kw_only=True)
class Options(WebOptions):
    hit_header: str = ""  # header that holds the word hit; default: Age, Cache-Status, X-Cache and others as usual
    tries: int = 2  # requests, of which one has to be answered from the cache: the first may fill it

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above_zero(tries=self.tries)
        if self.tries > 100:
            raise OptionProblem("tries", f"{self.tries} is above 100", "Ask less often")


class CheckCacheAvailable(GenericPromise[Options]):
    """Passes when ``url``, a page that may be kept, is answered 200 from a cache within ``tries`` requests.

    A header tells: ``Age`` (RFC 9111) is only in answers that a cache gives, ``Cache-Status`` (RFC 9211) says ``hit``.

    Metrics: ``seconds`` until the last answer, ``code``, ``tries``.
    """

    def target(self) -> str:
        return place(self.options.url)

    def sense(self) -> Measurement:
        options = self.options
        for number in range(1, options.tries + 1):
            try:
                answer = fetch(options, self.partition, BODY_LIMIT)
            except NoAnswer as error:
                return Measurement.failed(f"{options.url}: {error}")
            metrics = {**answer.metrics(), "tries": Metric(number)}
            if answer.code != 200:
                return Measurement.failed(f"{options.url} answers {answer.code}, expected 200", **metrics)
            if _is_hit(answer.headers, options.hit_header.lower()):
                return Measurement.passed(f"{options.url} is answered from a cache at request {number}", **metrics)
        where = options.hit_header or "Age, Cache-Status or X-Cache"
        message = f"{options.url} is not answered from a cache in {options.tries} requests: no {where} tells so"
        return Measurement.failed(message, **metrics)


def _is_hit(headers: Mapping[str, str], name: str) -> bool:
    if name:
        return _says_hit(headers.get(name, ""))
    # RFC 9211: caches are parted by commas, what each says by semicolons; the text of a detail may be quoted.
    told = re.sub(r'"(\\.|[^"\\])*"', "", headers.get("cache-status", ""))
    is_told = any(word.strip().lower() in ("hit", "hit=?1") for word in re.split("[;,]", told))
    return is_told or "age" in headers or any(_says_hit(headers.get(item, "")) for item in _TELLING)


def _says_hit(value: str) -> bool:
    return re.search(r"(?<![a-z])hit(?![a-z])", value.lower()) is not None
