# SPDX-License-Identifier: Apache-2.0
"""Promise: enough members of a cluster answer."""

import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, Words
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero
from allotment_promises.sensing.web import NoAnswer, WebOptions, fetch

_AT_ONCE = 16  # members that are asked side by side


@dataclass(frozen=True)
class Options:
    members: Words  # each as host:port that has to accept connections, or as a URL that has to answer 200
    minimum: int = 0  # how many have to be well; default: more than half
    timeout: float = 3.0  # seconds for each
    verify: bool = True  # check the certificates of URLs
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition

    def __post_init__(self) -> None:
        if not self.members:
            raise OptionProblem("members", "is empty", "Write them like db1:5432 db2:5432 db3:5432")
        if not 0 <= self.minimum <= len(self.members):
            fix = f"Write a number from 1 to {len(self.members)}"
            raise OptionProblem("minimum", f"{self.minimum} of {len(self.members)} members can't be well", fix)
        check_above_zero(timeout=self.timeout)
        for member in self.members:
            if "://" in member:
                self.page(member)
            else:
                _split(member)

    def page(self, url: str) -> WebOptions:
        """Return how to fetch the page of a member; a wrong URL is an OptionProblem."""
        try:
            return WebOptions(url=url, timeout=self.timeout, verify=self.verify, ca=self.ca)
        except OptionProblem as error:
            if error.option != "url":
                raise
            raise OptionProblem("members", error.problem, error.fix) from error


class CheckClusterHealth(GenericPromise[Options]):
    """Passes when at least ``minimum`` of the ``members`` are well, however they share their work.

    What a cluster says of itself is judged by ``check_http_json``, ``check_sql_query``, ``check_replication_lag`` or,
    with a program of its own such as neoctl, by ``check_command_execute``.

    Metrics: ``well`` and ``members``, how many there are of each.
    """

    def sense(self) -> Measurement:
        members = self.options.members
        minimum = self.options.minimum or len(members) // 2 + 1
        with ThreadPoolExecutor(min(_AT_ONCE, len(members))) as pool:
            problems = [problem for problem in pool.map(self._ask, members) if problem]
        well = len(members) - len(problems)
        told = f"{well} of {len(members)} members answer"
        expected = "" if well >= minimum else f", expected at least {minimum}"
        reasons = f": {'; '.join(problems)}" if problems else ""
        metrics = {"well": Metric(well), "members": Metric(len(members))}
        return Measurement(not expected, f"{told}{expected}{reasons}", metrics)

    def _ask(self, member: str) -> str:
        """Return what is wrong with a member; empty when it is well."""
        options = self.options
        try:
            if "://" in member:
                code = fetch(options.page(member), self.partition).code
                return "" if code == 200 else f"{member} answers {code}"
            socket.create_connection(_split(member), options.timeout).close()
        except (OSError, UnicodeError, NoAnswer) as error:
            return f"{member}: {error}"
        return ""


def _split(member: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address stands in brackets."""
    if "@" in member:
        raise OptionProblem("members", "one holds a user or password, which would be shown", "Leave it out")
    try:
        parts = urllib.parse.urlsplit(f"//{member}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.netloc != member:
        raise OptionProblem("members", f"{member!r} is neither host:port nor a URL", "Write it like db1:5432")
    return host, port
