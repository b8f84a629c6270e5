# SPDX-License-Identifier: Apache-2.0
"""``slapos.grid.promise.generic`` as modules know it: the base class, its results, and what earlier runs logged."""

from __future__ import annotations

import abc
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .runs import Line, Runs

ERROR_LEVEL = ("CRITICAL", "ERROR")
PROMISE_PARAMETER_NAME = "extra_config_dict"


class BaseResult:
    """How a module judges; TestResult, AnomalyResult and EmptyResult say in which phase."""

    _type = "Base Result"

    def __init__(self, problem: bool = False, message: str | None = None, date: datetime | None = None) -> None:
        self._problem = problem
        self._message = message
        self._date = date or datetime.now()

    def hasFailed(self) -> bool:
        return self._problem

    @property
    def type(self) -> str:
        return self._type

    @property
    def message(self) -> str | None:
        return self._message

    @property
    def date(self) -> datetime:
        return self._date


class TestResult(BaseResult):
    _type = "Test Result"


class AnomalyResult(BaseResult):
    """The one result that asks for the instance to be processed again."""

    _type = "Anomaly Result"


class EmptyResult(BaseResult):
    """Nothing was judged."""

    _type = "Empty Result"

    def __init__(self) -> None:
        super().__init__()


class GenericPromise(abc.ABC):
    """Base of ``RunPromise``. What ``sense`` logs at ERROR or above makes the run a failure."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._name: str = config.pop("name")
        self._path: str = config.pop("path")
        self._partition_folder: str = config.pop("partition-folder")
        self._log_folder: str = config.pop("log-folder")
        self._runs: Runs = config.pop("queue")
        self._is_tested = True
        self._is_anomaly_detected = True
        self._may_bang = _is_yes(config.pop("bang-on-failure", "") or "yes")
        self._periodicity = 0.0
        self.setPeriodicity(config.pop("periodicity", 2))
        self.logger = logging.getLogger(self._name)
        self.logger.setLevel(logging.DEBUG if config.pop("debug", False) else logging.INFO)
        self.logger.addHandler(_Keeping(self._runs))

    def getConfig(self, key: str, default: Any = None) -> Any:
        return self._config.get(key, default)

    def setConfig(self, key: str, value: Any) -> None:
        self._config[key] = value

    def getTitle(self) -> str:
        return Path(self._name).stem

    def getName(self) -> str:
        return self._name

    def getLogFile(self) -> str:
        return str(self._runs.path)

    def getLogFolder(self) -> str:
        return self._log_folder

    def getPartitionFolder(self) -> str:
        return self._partition_folder

    def getPromiseFile(self) -> str:
        return self._path

    def setPeriodicity(self, minute: float) -> None:
        if minute <= 0:
            raise ValueError(f"the periodicity is {minute!r}, not minutes above zero")
        self._periodicity = minute

    def getPeriodicity(self) -> float:
        return self._periodicity

    def setTestLess(self) -> None:
        self._is_tested = False

    def isTested(self) -> bool:
        return self._is_tested

    def setAnomalyLess(self) -> None:
        self._is_anomaly_detected = False

    def isAnomalyDetected(self) -> bool:
        return self._is_anomaly_detected

    def allowBang(self, allow: bool = True) -> None:
        self._may_bang = allow

    def isBangAllowed(self) -> bool:
        return self._may_bang

    def getLastPromiseResultList(
        self, latest_minute: float = 0, result_count: int = 1, only_failure: bool = False
    ) -> list[list[dict[str, Any]]]:
        """Return what the newest ``result_count`` runs logged, newest run first, this one included.

        ``latest_minute``: only lines of so many last minutes; 0: however old.
        """
        since = (datetime.now() - timedelta(minutes=latest_minute)).timestamp() if latest_minute > 0 else 0.0
        runs = [[line for line in run if line.time > since] for run in self._runs.newest(result_count)]
        return [[_entry(line) for line in run if not only_failure or line.level in ERROR_LEVEL] for run in runs if run]

    @abc.abstractmethod
    def sense(self) -> object:
        """Look, and log what is found."""

    def test(self) -> BaseResult:
        return self._test()

    def anomaly(self) -> BaseResult:
        return self._anomaly()

    def _test(self, result_count: int = 1, failure_amount: int = 1, latest_minute: float = 0) -> BaseResult:
        return self._judge(TestResult, result_count, failure_amount, latest_minute)

    def _anomaly(self, result_count: int = 1, failure_amount: int = 1, latest_minute: float = 0) -> BaseResult:
        return self._judge(AnomalyResult, result_count, failure_amount, latest_minute)

    def _judge(
        self, kind: type[BaseResult], result_count: int, failure_amount: int, latest_minute: float
    ) -> BaseResult:
        """Fail when the newest run failed, and ``failure_amount`` of those looked at did."""
        runs = self.getLastPromiseResultList(latest_minute, result_count)
        if not runs:
            return kind(False, "nothing was logged")
        failed = [has_failed(run) for run in runs]
        message = "\n".join(entry["message"] for entry in runs[0]).strip()
        return kind(failed[0] and sum(failed) >= failure_amount, message)


def has_failed(run: Sequence[Mapping[str, Any]]) -> bool:
    return any(entry["status"] in ERROR_LEVEL for entry in run)


def _entry(line: Line) -> dict[str, Any]:
    moment = datetime.fromtimestamp(line.time).replace(microsecond=0)
    return {"date": moment, "status": line.level, "message": line.message}


def _is_yes(value: object) -> bool:
    return str(value).strip().lower() in ("1", "true", "yes", "y", "on")


class _Keeping(logging.Handler):
    """Keeps what a module logs as lines of this run."""

    def __init__(self, runs: Runs) -> None:
        super().__init__()
        self._runs = runs

    def emit(self, record: logging.LogRecord) -> None:
        self._runs.add(Line(record.created, record.levelname, self.format(record)))
