# SPDX-License-Identifier: Apache-2.0
"""Promise: a database answers a query as expected."""

import datetime
import decimal
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from allotment.options import OptionProblem, check_one_given
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.databases import DatabaseProblem, Row, ServerOptions, query, query_sqlite
from allotment_promises.sensing.limits import check_limits, outside


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    server: Literal["postgresql", "mariadb", "sqlite"]  # what is asked
    database: str = ""  # its database; default: what the server takes for this user
    file: Path | None = None  # sqlite: the database, relative to the partition
    query: str  # one statement, in a transaction that can only read
    expected: str = ""  # what the first value of the first row must be, as text; true, false and NULL are these words
    minimum: float | None = None  # lowest good number there
    maximum: float | None = None  # highest good number there

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(self.minimum, self.maximum, required=False)
        if not self.query.strip():
            raise OptionProblem("query", "is empty", "Write it like 'select 1'")
        if self.expected and (self.minimum is not None or self.maximum is not None):
            raise OptionProblem(
                "expected, minimum, maximum", "a value is expected, or a number within limits", "Choose"
            )
        if self.server == "sqlite":
            check_one_given(file=self.file, host=self.host, socket=self.socket)
            if self.file is None:
                raise OptionProblem("file", "missing option", "Say where the database is")
        else:
            check_one_given(host=self.host, socket=self.socket)
            if self.file is not None:
                raise OptionProblem("file, server", f"{self.server} is not asked by a file", "Remove one of the two")


class CheckSqlQuery(GenericPromise[Options]):
    """Passes when ``query`` gives a row whose first value is ``expected``, or from ``minimum`` to ``maximum``.

    Without any of the three, any row will do.

    Metrics: ``seconds`` until the answer, ``value``, when it is a number.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        if self.options.file is not None:
            return str(self.partition / self.options.file)
        return self.options.target(self.options.server, self.partition)

    def sense(self) -> Measurement:
        place, started = str(self.options.file or self.options.place(self.options.server)), time.monotonic()
        try:
            rows = self._ask()
        except DatabaseProblem as error:
            return Measurement.failed(f"{place}: {error}")
        metrics = {"seconds": Metric(time.monotonic() - started, "s")}
        if not rows or not rows[0]:
            return Measurement.failed(f"{place}: the query gives no row", **metrics)
        value = rows[0][0]
        number = _number(value)
        if number is not None:
            metrics["value"] = Metric(number)
        problem = self._problem(value, number)
        message = f"{place}: the query gives {_text(value)[:200]}{problem}"
        return Measurement(not problem, message, metrics)

    def _ask(self) -> list[Row]:
        options = self.options
        if options.file is not None:
            return query_sqlite(self.partition / options.file, options.query, options.timeout)
        return query(options.server, options, self.partition, options.database, options.query)

    def _problem(self, value: Any, number: float | None) -> str:
        options = self.options
        if options.expected:
            return "" if _text(value) == options.expected else f", expected {options.expected}"
        if options.minimum is None and options.maximum is None:
            return ""
        return ", expected a number" if number is None else outside(number, options.minimum, options.maximum)


def _number(value: Any) -> float | None:
    """Return a value as a number, spans of time in seconds; None when it is none."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, int | float | decimal.Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value).lower() if isinstance(value, bool) else str(value)
