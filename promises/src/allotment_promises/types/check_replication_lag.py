# SPDX-License-Identifier: Apache-2.0
"""Promise: a replica of a database follows its primary."""

from dataclasses import dataclass
from typing import Literal

from allotment.options import check_one_given
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.databases import DatabaseProblem, ServerOptions, mariadb_status, query, redis_client
from allotment_promises.sensing.limits import check_above_zero

_POSTGRESQL = """
select pg_is_in_recovery(), (select count(*) from pg_stat_wal_receiver),
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()),
    extract(epoch from now() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))
"""


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    server: Literal["postgresql", "mariadb", "redis"]  # what the replica is
    database: str = "postgres"  # postgresql: any database that the user may connect to
    maximum: float = 60.0  # seconds that it may be behind

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_given(host=self.host, socket=self.socket)
        check_above_zero(maximum=self.maximum)


@dataclass(frozen=True)
class _Found:
    """How a replica is; ``problem`` is empty when it follows its primary."""

    problem: str = ""
    seconds: float | None = None  # behind
    bytes: float | None = None  # received, not applied


class CheckReplicationLag(GenericPromise[Options]):
    """Passes when the server is a replica that hears of its primary and is at most ``maximum`` seconds behind.

    The replica itself is asked. PostgreSQL: nothing that it received waits, or its newest transaction is that young.
    MariaDB: as ``SHOW ALL SLAVES STATUS`` tells, of all primaries, which needs the privilege ``SLAVE MONITOR``. Redis:
    how long it heard nothing, of a primary that by default speaks every ten seconds.

    Metrics: ``lag`` in seconds, ``behind``, bytes that were received and wait.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        return self.options.target(self.options.server, self.partition)

    def sense(self) -> Measurement:
        place, maximum = self.options.place(self.options.server), self.options.maximum
        looks = {"postgresql": self._postgresql, "mariadb": self._mariadb, "redis": self._redis}
        try:
            found = looks[self.options.server]()
        except DatabaseProblem as error:
            return Measurement.failed(f"{place}: {error}")
        metrics = {}
        if found.seconds is not None:
            metrics["lag"] = Metric(found.seconds, "s")
        if found.bytes is not None:
            metrics["behind"] = Metric(found.bytes, "B")
        if found.problem or found.seconds is None:
            problem = found.problem or "does not know how far it is behind"
            return Measurement(False, f"{place} {problem}", metrics)
        is_near = found.seconds <= maximum
        expected = "" if is_near else f", expected at most {maximum:g} s"
        return Measurement(is_near, f"{place} is {found.seconds:.1f} s behind its primary{expected}", metrics)

    def _postgresql(self) -> _Found:
        options = self.options
        ((is_replica, receivers, waiting, age),) = query(
            "postgresql", options, self.partition, options.database, _POSTGRESQL
        )
        if not is_replica:
            return _Found("is no replica")
        behind = None if waiting is None else float(waiting)
        # The age of the newest transaction says nothing while the primary is idle and nothing waits.
        seconds = 0.0 if behind == 0 else max(0.0, float(age))
        return _Found("" if receivers else "receives nothing from its primary", seconds, behind)

    def _mariadb(self) -> _Found:
        rows = mariadb_status(self.options, self.partition, "show all slaves status")
        if not rows:
            return _Found("is no replica")
        for row in rows:
            for thread, error in (("Slave_IO_Running", "Last_IO_Error"), ("Slave_SQL_Running", "Last_SQL_Error")):
                if row[thread] != "Yes":
                    reason = " ".join(str(row[error]).split())
                    return _Found(
                        f"does not follow {row['Master_Host']}: {thread} is {row[thread]}. {reason}".rstrip(". ")
                    )
        lags = [row["Seconds_Behind_Master"] for row in rows]
        return _Found(seconds=None if None in lags else float(max(lags)))

    def _redis(self) -> _Found:
        with redis_client(self.options, self.partition) as client:
            info = client.info("replication")
        if info.get("role") != "slave":
            return _Found("is no replica")
        if info.get("master_link_status") != "up":
            since = info.get("master_link_down_since_seconds", -1)
            how_long = f" for {since} s" if since >= 0 else ""
            return _Found(f"has lost its primary {info.get('master_host')}:{info.get('master_port')}{how_long}")
        read = info.get("slave_read_repl_offset", info["slave_repl_offset"])
        return _Found(seconds=float(info["master_last_io_seconds_ago"]), bytes=float(read - info["slave_repl_offset"]))
