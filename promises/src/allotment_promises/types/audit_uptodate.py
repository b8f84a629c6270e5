# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine's Debian packages are kept up to date."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_count, show_seconds
from allotment_promises.sensing.limits import check_above_zero

_DAY = 86400.0  # seconds
_STAMPS = Path("/var/lib/apt/periodic")
_UPDATED = (_STAMPS / "update-success-stamp", _STAMPS / "update-stamp", Path("/var/lib/apt/lists"))
_UPGRADED = (_STAMPS / "unattended-upgrades-stamp", _STAMPS / "upgrade-stamp")
_REBOOT = Path("/run/reboot-required")
_SIMULATE = ("apt-get", "--simulate", "--with-new-pkgs", "-o", "Debug::NoLocking=true", "upgrade")
_UPGRADE = re.compile(r"^Inst (\S+) \[[^]]*\] \((.*)\)", re.MULTILINE)  # package; version and where it comes from
_PERIODIC = re.compile(r'^APT::Periodic::Unattended-Upgrade "([^"]*)";', re.MULTILINE)


@dataclass(frozen=True)
class Options:
    tolerance_days: float = 7.0  # days that lists may be old, and security upgrades and restarts may be due
    unattended: bool = True  # the machine has to upgrade itself, by unattended-upgrades
    timeout: float = 60.0  # seconds for each of two answers of apt; the promise itself has a timeout that is longer

    def __post_init__(self) -> None:
        check_above_zero(tolerance_days=self.tolerance_days, timeout=self.timeout)


class AuditUptodate(GenericPromise[Options]):
    """Passes while the lists of packages are recent, the machine upgrades itself and needs no restart for long.

    In operation it is also broken when security upgrades have been due for ``tolerance-days``, as far as this
    promise's own past tells. Apt is asked what it would do, which takes seconds.

    Metrics: ``upgrades`` and ``security_upgrades`` that are due.
    """

    only = "anomaly"
    period = 86400.0
    timeout = 130.0
    failures = 1
    window = 1

    def sense(self) -> Measurement:
        try:
            problems = [*self._late("the lists of packages were updated", _UPDATED), *self._unattended()]
            upgrades = _UPGRADE.findall(self._ask(*_SIMULATE))
        except AllotmentError as error:
            return Measurement.failed(str(error))
        security = [name for name, source in upgrades if "security" in source.lower()]
        problems += self._restart()
        metrics = {"upgrades": Metric(len(upgrades)), "security_upgrades": Metric(len(security))}
        due = f"{show_count(len(upgrades), 'upgrade')} due, {len(security)} for security"
        if security:
            due += f" ({', '.join(security[:5])}{', ...' if len(security) > 5 else ''})"
        return Measurement(not problems, "; ".join([*problems, due]), metrics)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        judged = super().anomaly(history)
        found = judged.metrics.get("security_upgrades")
        if not judged.is_passed or found is None or not found.value:
            return judged
        tolerated = self.options.tolerance_days * _DAY
        since = judged.time
        for at, value in reversed(self.series("security_upgrades", 2 * tolerated)):
            if not value:
                break
            since = at
        if judged.time - since <= tolerated:
            return judged
        late = f"security upgrades are due since {show_seconds(judged.time - since)}"
        return replace(judged, is_passed=False, message=f"{late}{self._expected()}: {judged.message}")

    def _late(self, what: str, stamps: Sequence[Path]) -> list[str]:
        """Return what is wrong when none of these files was changed lately."""
        times = [path.stat().st_mtime for path in stamps if path.exists()]
        if not times:
            return [f"nothing tells when {what}"]
        age = time.time() - max(times)
        if age <= self.options.tolerance_days * _DAY:
            return []
        return [f"{what} {show_seconds(age)} ago{self._expected()}"]

    def _unattended(self) -> list[str]:
        if not self.options.unattended:
            return []
        found = _PERIODIC.search(self._ask("apt-config", "dump"))
        if found is None or found[1] in ("", "0"):
            return ["apt does not upgrade by itself: install unattended-upgrades and switch it on"]
        return self._late("unattended-upgrades last ran", _UPGRADED)

    def _restart(self) -> list[str]:
        if not _REBOOT.exists():
            return []
        age = time.time() - _REBOOT.stat().st_mtime
        return [f"a restart is due since {show_seconds(age)}"] if age > self.options.tolerance_days * _DAY else []

    def _expected(self) -> str:
        return f", expected at most {self.options.tolerance_days:g} days"

    def _ask(self, *command: str) -> str:
        try:
            outcome = run_command(command, Path("/"), self.options.timeout)
        except OSError as error:
            raise AllotmentError(
                f"{command[0]} can't be started: {error.strerror}", "Promise it on Debian only"
            ) from error
        if outcome.code != 0:
            raise AllotmentError(f"{command[0]} {outcome.describe(self.options.timeout)}", "Mend apt first")
        return outcome.output
