# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement, Metric

MeasureInside = Callable[..., list[Measurement]]
DAY = 86400.0
# The real apt, in a place where the package demo 1.0 is installed, and a source of its own has 1.1
APT = r"""
mkdir -p repository periodic sources lists/partial settings cache/archives/partial
cat > repository/Packages <<END
Package: demo
Version: 1.1
Architecture: all
Maintainer: me <me@example.com>
Description: demo
Filename: ./demo.deb
Size: 1
SHA256: $(printf %064d 0)

END
cat > repository/Release <<END
Origin: Debian
Label: {label}
Suite: stable-security
Version: 12
Date: Sun, 01 Mar 2026 00:00:00 UTC
SHA256:
 $(sha256sum repository/Packages | cut -d' ' -f1) $(stat -c %s repository/Packages) Packages
END
cat > status <<END
Package: demo
Status: install ok installed
Version: 1.0
Architecture: all
Maintainer: me <me@example.com>
Description: demo

END
: > empty
echo "deb [trusted=yes] file:$PWD/repository ./" > sources/demo.list
printf 'APT::Sandbox::User "root";\nAPT::Periodic::Unattended-Upgrade "{unattended}";\n' > settings/00demo
mount --bind lists /var/lib/apt/lists
mount --bind periodic /var/lib/apt/periodic
mount --bind sources /etc/apt/sources.list.d
mount --bind settings /etc/apt/apt.conf.d
mount --bind status /var/lib/dpkg/status
mount --bind cache /var/cache/apt
test ! -e /etc/apt/sources.list || mount --bind empty /etc/apt/sources.list
mount -t tmpfs tmpfs /run
apt-get -q update >&2
touch periodic/update-success-stamp periodic/unattended-upgrades-stamp
"""
SECURITY = APT.replace("{label}", "Debian-Security").replace("{unattended}", "1")


def test_due_upgrades_are_counted(measure_inside: MeasureInside) -> None:
    install = "sed 's/^Version: 1.0/Version: 1.1/' status > new; cat new > status; rm cache/*.bin"
    due, done = measure_inside("--mount", SECURITY, "audit_uptodate", meanwhile=[install], timeout=60)
    assert due == Measurement.passed("1 upgrade due, 1 for security (demo)", upgrades=1, security_upgrades=1)
    assert done == Measurement.passed("0 upgrades due, 0 for security", upgrades=0, security_upgrades=0)


def test_other_upgrades_are_not_for_security(measure_inside: MeasureInside) -> None:
    other = APT.replace("{label}", "Debian").replace("{unattended}", "1").replace("stable-security", "stable")
    (plain,) = measure_inside("--mount", other, "audit_uptodate", timeout=60)
    assert plain.message == "1 upgrade due, 0 for security"


def test_what_is_not_kept_up_fails(measure_inside: MeasureInside) -> None:
    old = "touch -d '10 days ago' periodic/* lists; "
    restart = "touch periodic/*; touch -d '9 days ago' /run/reboot-required"
    away = "rm /run/reboot-required periodic/unattended-upgrades-stamp"
    _, late, due, never = measure_inside(
        "--mount", SECURITY, "audit_uptodate", meanwhile=[old, restart, away], timeout=60
    )
    tail = "; 1 upgrade due, 1 for security (demo)"
    assert (late.is_passed, late.message) == (
        False,
        "the lists of packages were updated 10.0 days ago, expected at most 7 days; "
        f"unattended-upgrades last ran 10.0 days ago, expected at most 7 days{tail}",
    )
    assert (due.is_passed, due.message) == (False, f"a restart is due since 9.0 days{tail}")
    assert (never.is_passed, never.message) == (False, f"nothing tells when unattended-upgrades last ran{tail}")


def test_machine_that_does_not_upgrade_itself_fails_unless_told(measure_inside: MeasureInside) -> None:
    manual = SECURITY.replace('Upgrade "1"', 'Upgrade "0"')
    (off,) = measure_inside("--mount", manual, "audit_uptodate", timeout=60)
    assert not off.is_passed
    assert off.message.startswith("apt does not upgrade by itself: install unattended-upgrades and switch it on; ")


def test_apt_that_fails_or_is_not_there_fails(measure_inside: MeasureInside) -> None:
    broken, manual = measure_inside(
        "--mount",
        f"{SECURITY}\necho nonsense > sources/demo.list",
        "audit_uptodate",
        meanwhile=["mount -t tmpfs tmpfs /usr/bin"],
        timeout=60,
        unattended=False,
    )
    assert not broken.is_passed
    assert broken.message.startswith("apt-get ended with exit code 100: ")
    assert manual.message == "apt-get can't be started: No such file or directory. Promise it on Debian only."


def test_security_upgrades_that_are_due_for_long_are_broken(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    promise = make_promise("audit_uptodate")
    now = time.time()
    newest = replace(Measurement.passed("1 upgrade due", security_upgrades=Metric(1)), time=now)

    def judge(*days: tuple[float, float]) -> Measurement:
        promise.series = lambda metric, seconds: [(now - ago * DAY, value) for ago, value in days]
        return promise.anomaly([newest])

    late = judge((9, 0), (8, 1), (4, 3), (1, 1))
    assert (late.is_passed, late.message) == (
        False,
        "security upgrades are due since 8.0 days, expected at most 7 days: 1 upgrade due",
    )
    assert judge((9, 1), (8, 1), (4, 0), (1, 1)).is_passed, "they were installed meanwhile"
    assert judge().is_passed


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="tolerance-days: 0 is not above zero"):
        make_promise("audit_uptodate", tolerance_days=0)
