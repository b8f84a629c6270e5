# SPDX-License-Identifier: Apache-2.0
"""Promise: a Redis server answers, keeps its data, and has the role that it should have."""

import time
from dataclasses import dataclass
from typing import Any, Literal

from allotment.options import check_one_given
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.databases import DatabaseProblem, ServerOptions, redis_client

_ROLES = {"master": "primary", "slave": "replica"}


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    role: Literal["any", "primary", "replica"] = "any"  # what it has to be

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_given(host=self.host, socket=self.socket)


class CheckRedis(GenericPromise[Options]):
    """Passes when the server lets ``user`` in, could save its data when it last tried, and is of the ``role``.

    Metrics: ``seconds`` until the answer, ``used_memory`` in bytes, ``clients``, ``replicas``.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        return self.options.target("redis", self.partition)

    def sense(self) -> Measurement:
        place, started = self.options.place("redis"), time.monotonic()
        try:
            with redis_client(self.options, self.partition) as client:
                client.ping()
                seconds = time.monotonic() - started
                info = client.info()
        except DatabaseProblem as error:
            return Measurement.failed(f"{place}: {error}")
        role = _ROLES.get(str(info.get("role")), str(info.get("role")))
        metrics = {
            "seconds": Metric(seconds, "s"),
            "used_memory": Metric(float(info.get("used_memory", 0)), "B"),
            "clients": Metric(float(info.get("connected_clients", 0))),
            "replicas": Metric(float(info.get("connected_slaves", 0))),
        }
        problem = self._problem(role, info)
        return Measurement(not problem, f"{place} is a {role}{problem}", metrics)

    def _problem(self, role: str, info: dict[str, Any]) -> str:
        if self.options.role not in ("any", role):
            return f", expected a {self.options.role}"
        for name, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only file")):
            if info.get(name, "ok") != "ok":
                return f" that could not write its {what}; see its log"
        return ""
