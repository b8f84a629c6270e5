# SPDX-License-Identifier: Apache-2.0
"""Promise: the name system has the expected records."""

import ipaddress
import time
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver

from allotment.options import Lines, OptionProblem, Words
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero, check_port


@dataclass(frozen=True)
class Options:
    name: str  # the domain name to look up, in full
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"  # which records
    expected: Lines = Lines(())  # values that must be among them, one a line, as zone files have them; empty: any one
    exact: bool = False  # there must be no other values
    resolver: Words = Words(())  # addresses of the name servers to ask, in turn; default: the system's
    port: int = 53  # their port
    timeout: float = 5.0  # seconds

    def __post_init__(self) -> None:
        check_port(self.port)
        check_above_zero(timeout=self.timeout)
        try:
            dns.name.from_text(self.name)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise OptionProblem("name", f"{self.name!r} is no domain name: {error}", "Correct it") from error
        for address in self.resolver:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise OptionProblem("resolver", f"{address!r} is no IP address", "Write it like 9.9.9.9") from None
        if self.type in ("A", "AAAA"):
            for value in self.expected:
                try:
                    ipaddress.ip_address(value)
                except ValueError:
                    raise OptionProblem("expected", f"{value!r} is no IP address", "Correct it, or type") from None
        if self.exact and not self.expected:
            raise OptionProblem("exact", "no value is expected", "Fill expected, or leave exact out")


class CheckDnsRecord(GenericPromise[Options]):
    """Passes when ``name`` has records of ``type`` with all ``expected`` values.

    Metrics: ``seconds`` until the answer, ``records``, ``ttl``, seconds for which they may be kept.
    """

    layer = Layer.NAME

    def target(self) -> str:
        return self.options.name.rstrip(".").lower()

    def sense(self) -> Measurement:
        options, started = self.options, time.monotonic()
        what = f"{options.type} of {options.name}"
        try:
            answer = self._resolver().resolve(f"{options.name.rstrip('.')}.", options.type, search=False)
        except dns.resolver.NXDOMAIN:
            return Measurement.failed(f"{what}: there is no such name")
        except dns.resolver.NoAnswer:
            return Measurement.failed(f"{what}: the name has none")
        except dns.exception.DNSException as error:
            return Measurement.failed(f"{what}: {error}")
        found = sorted({_text(record) for record in answer})
        metrics = {
            "seconds": Metric(time.monotonic() - started, "s"),
            "records": Metric(len(found)),
            "ttl": Metric(answer.rrset.ttl if answer.rrset is not None else 0, "s"),
        }
        expected = {_normal(options.type, value) for value in options.expected}
        is_right = set(found) == expected if options.exact else expected <= set(found)
        if is_right:
            return Measurement.passed(f"{what}: {', '.join(found)}", **metrics)
        wanted = f"{'exactly ' if options.exact else ''}{', '.join(sorted(expected))}"
        return Measurement.failed(f"{what}: {', '.join(found)}, expected {wanted}", **metrics)

    def _resolver(self) -> dns.resolver.Resolver:
        options = self.options
        resolver = dns.resolver.Resolver(configure=not options.resolver)
        if options.resolver:
            resolver.nameservers = list(options.resolver)
        resolver.port = options.port
        resolver.lifetime = options.timeout
        resolver.timeout = options.timeout / max(1, len(resolver.nameservers))
        return resolver


def _text(record: dns.rdata.Rdata) -> str:
    if record.rdtype == dns.rdatatype.TXT:
        return b"".join(getattr(record, "strings", ())).decode("utf-8", "replace")
    return _normal(dns.rdatatype.to_text(record.rdtype), record.to_text())


def _normal(type: str, value: str) -> str:
    """Return a value as it is compared: texts as they are, addresses and names in their shortest form."""
    if type == "TXT":
        return value
    if type in ("A", "AAAA"):
        return str(ipaddress.ip_address(value))
    return " ".join(word.rstrip(".") or "." for word in value.lower().split())
