# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine runs an operating system that is expected."""

import platform
from dataclasses import dataclass

from allotment.options import OptionProblem, Words
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement


@dataclass(frozen=True)
class Options:
    dist: str = "debian"  # ID in /etc/os-release, such as debian or ubuntu
    versions: Words = Words(())  # accepted VERSION_IDs, such as 12 or 22.04; 12 accepts 12.5 too; empty: any

    def __post_init__(self) -> None:
        if not self.dist:
            raise OptionProblem("dist", "is empty", "Write the ID of a distribution, such as debian")


class AuditOsVersion(GenericPromise[Options]):
    """Passes when the machine runs the distribution ``dist`` in one of its ``versions``."""

    failures = 1
    window = 1

    def sense(self) -> Measurement:
        try:
            found = platform.freedesktop_os_release()
        except OSError as error:
            return Measurement.failed(f"/etc/os-release can't be read: {error}")
        name, version = found.get("ID", ""), found.get("VERSION_ID", "")
        text = f"the machine runs {found.get('PRETTY_NAME', name)} (Linux {platform.release()})"
        accepted = self.options.versions
        is_version = not accepted or any(version == item or version.startswith(f"{item}.") for item in accepted)
        if name == self.options.dist and is_version:
            return Measurement.passed(text)
        expected = f"{self.options.dist} {' or '.join(accepted)}".strip()
        return Measurement.failed(f"{text}, that is {name} {version}".rstrip() + f", expected {expected}")
