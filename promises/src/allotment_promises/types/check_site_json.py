# SPDX-License-Identifier: Apache-2.0
"""Promise: a site is well, by the report that a prober such as surykatka writes."""

import datetime
import email.utils
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from allotment.options import OptionProblem, Words
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.json_path import number_of
from allotment_promises.sensing.limits import check_above_zero
from allotment_promises.sensing.web import check_url, place

_DAY = 86400.0  # seconds
_LARGEST = 32 << 20  # bytes of a report
_PARTS = ("dns_query", "tcp_server", "http_query", "ssl_certificate", "elapsed_time", "whois")


@dataclass(frozen=True)
class Options:
    json_file: Path  # the report, relative to the partition
    report: Literal["http_query", "bot_status"] = "http_query"  # what of it: a site, or whether the prober is at work
    url: str = ""  # http_query: the site's, as in the report
    status_code: int = 200  # status code that each address has to answer
    ip_list: Words = Words(())  # addresses that the name must have and that must listen; empty: whatever they are
    http_header_dict: str = ""  # headers that each answer must have, as a JSON object
    maximum_elapsed_time: float = 0.0  # seconds that an answer may take; 0: any
    certificate_expiration_days: float = 15.0  # days for which certificates have to be valid yet
    domain_expiration_days: float = 30.0  # days for which the domain has to be registered yet; 0: any
    enabled_sense_list: Words = Words(_PARTS)  # the parts of the report that count
    maximum_age: float = 900.0  # bot_status: seconds since the prober last went round

    def __post_init__(self) -> None:
        if self.report == "http_query":
            check_url(self.url)
        check_above_zero(maximum_age=self.maximum_age)
        for part in self.enabled_sense_list:
            if part not in _PARTS:
                raise OptionProblem("enabled-sense-list", f"{part!r} is no part", f"Choose of {', '.join(_PARTS)}")
        if self.http_header_dict:
            try:
                is_object = isinstance(json.loads(self.http_header_dict), dict)
            except (ValueError, RecursionError):
                is_object = False
            if not is_object:
                raise OptionProblem("http-header-dict", "is no JSON object", 'Write it like {"Vary": "Accept"}')


class CheckSiteJson(GenericPromise[Options]):
    """Passes when the site ``url`` is well in all that the report says: name, addresses, answers, certificates.

    Metrics: ``seconds`` of the slowest answer, ``expires_in``, seconds until the first certificate expires; of
    bot_status ``age``, seconds since the prober went round.
    """

    def target(self) -> str:
        return place(self.options.url) if self.options.url else str(self.partition / self.options.json_file)

    def sense(self) -> Measurement:
        options = self.options
        try:
            with (self.partition / options.json_file).open("rb") as file:
                report = json.loads(file.read(_LARGEST))
        except OSError as error:
            return Measurement.failed(f"{options.json_file} can't be read: {error.strerror}")
        except (ValueError, RecursionError) as error:
            return Measurement.failed(f"{options.json_file} is no JSON: {error}")
        if options.report == "bot_status":
            return self._judge_prober(report)
        site = _Site(options, report if isinstance(report, dict) else {})
        problems = [problem for part in options.enabled_sense_list for problem in getattr(site, part)()]
        metrics = site.metrics()
        if problems:
            return Measurement.failed(f"{options.url}: {'; '.join(problems)}", **metrics)
        return Measurement.passed(f"{options.url} is well: {', '.join(options.enabled_sense_list)}", **metrics)

    def _judge_prober(self, report: Any) -> Measurement:
        entries = _entries(report, "bot_status")
        if not entries:
            return Measurement.failed(f"{self.options.json_file} has no bot_status")
        newest = entries[0]
        left = _seconds_until(newest.get("date"))
        if left is None:
            return Measurement.failed(f"bot_status has no date, but {newest.get('date')!r}")
        age = Metric(-left, "s")
        if newest.get("text") != "loop":
            return Measurement.failed(f"bot_status is {newest.get('text')!r}, expected 'loop'", age=age)
        if abs(left) > self.options.maximum_age:
            how = f"{-left:.0f} s ago" if left < 0 else f"{left:.0f} s in the future"
            expected = f"expected at most {self.options.maximum_age:g} s"
            return Measurement.failed(f"the prober went round {how}, {expected}", age=age)
        return Measurement.passed(f"the prober went round {-left:.0f} s ago", age=age)


class _Site:
    """What a report says of one site; each method that is called as a part of the report returns its problems."""

    def __init__(self, options: Options, report: dict[str, Any]) -> None:
        self._options = options
        parts = urllib.parse.urlsplit(options.url)
        self._name = parts.hostname or ""
        self._scheme = parts.scheme
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._report = report
        self._answers = self._of("http_query", "url", options.url)

    def _of(self, part: str, field: str, value: str) -> list[dict[str, Any]]:
        return [entry for entry in _entries(self._report, part) if entry.get(field) == value]

    def metrics(self) -> dict[str, Metric]:
        """Return the slowest answer, and how soon a certificate expires."""
        times = [time for item in self._answers if (time := _number(item.get("total_seconds"))) is not None]
        ends = [_seconds_until(item.get("not_after")) for item in self._of("ssl_certificate", "hostname", self._name)]
        known = [end for end in ends if end is not None]
        found = {"seconds": Metric(max(times), "s")} if times else {}
        return {**found, "expires_in": Metric(min(known), "s")} if known else found

    def dns_query(self) -> Iterator[str]:
        if not self._options.ip_list:
            return
        expected = set(self._options.ip_list)
        entries = self._of("dns_query", "domain", self._name)
        if not entries:
            yield f"nothing is said of the addresses of {self._name}"
        for entry in entries:
            found = {word.strip() for word in str(entry.get("response") or "").split(",") if word.strip()}
            if found != expected:
                shown = ", ".join(sorted(found)) or "nothing"
                yield f"{entry.get('resolver_ip')} finds {shown}, expected {', '.join(sorted(expected))}"

    def tcp_server(self) -> Iterator[str]:
        entries = [item for item in self._of("tcp_server", "domain", self._name) if item.get("port") == self._port]
        states = {item.get("ip"): item.get("state") for item in entries}
        for address in self._options.ip_list:
            if states.get(address) != "open":
                yield f"port {self._port} of {address} is {states.get(address, 'not reported')}, expected open"

    def http_query(self) -> Iterator[str]:
        options = self._options
        if not self._answers:
            yield "no answer is reported"
        headers = json.loads(options.http_header_dict or "{}")
        for entry in self._answers:
            if entry.get("status_code") != options.status_code:
                yield f"{entry.get('ip')} answers {entry.get('status_code')}, expected {options.status_code}"
            found = entry.get("http_header_dict")
            known = found if isinstance(found, dict) else {}
            for name, value in headers.items():
                if known.get(name) != value:
                    yield f"{entry.get('ip')} sends {name}: {known.get(name)}, expected {value}"

    def ssl_certificate(self) -> Iterator[str]:
        if self._scheme != "https":
            return
        entries = self._of("ssl_certificate", "hostname", self._name)
        if not entries:
            yield "no certificate is reported"
        for entry in entries:
            left = _seconds_until(entry.get("not_after"))
            yield from _too_soon(
                f"the certificate of {entry.get('ip')}", left, self._options.certificate_expiration_days
            )

    def elapsed_time(self) -> Iterator[str]:
        limit = self._options.maximum_elapsed_time
        for entry in self._answers if limit else ():
            seconds = _number(entry.get("total_seconds"))
            if seconds is None:
                yield f"the time of {entry.get('ip')} is not reported"
            elif seconds > limit:
                yield f"{entry.get('ip')} takes {seconds:g} s, expected at most {limit:g} s"

    def whois(self) -> Iterator[str]:
        days = self._options.domain_expiration_days
        if not days:
            return
        entries = [item for item in _entries(self._report, "whois") if self._is_under(str(item.get("domain")))]
        if not entries:
            yield f"nothing is said of the registration of {self._name}"
        for entry in entries:
            yield from _too_soon(f"the domain {entry['domain']}", _seconds_until(entry.get("expiration_date")), days)

    def _is_under(self, domain: str) -> bool:
        return self._name == domain or self._name.endswith(f".{domain}")


def _entries(report: Any, part: str) -> list[dict[str, Any]]:
    found = report.get(part) if isinstance(report, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _number(value: Any) -> float | None:
    return None if isinstance(value, list | dict) else number_of(value)


def _seconds_until(date: Any) -> float | None:
    """Return how far a date as in mails is from now; negative: it is past, None: it is no date."""
    try:
        found = email.utils.parsedate_to_datetime(date)
        if found.tzinfo is None:  # -0000 stands for UTC
            found = found.replace(tzinfo=datetime.UTC)
        return (found - datetime.datetime.now(datetime.UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None


def _too_soon(what: str, left: float | None, days: float) -> Iterator[str]:
    if left is None:
        yield f"{what} has no known end"
    elif left <= 0:
        yield f"{what} expired {-left / _DAY:.1f} days ago"
    elif left < days * _DAY:
        yield f"{what} expires in {left / _DAY:.1f} days, expected at least {days:g}"
