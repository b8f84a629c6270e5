# SPDX-License-Identifier: Apache-2.0
"""Promise ``check_greeting``: a file greets the right one."""

from dataclasses import dataclass
from pathlib import Path

from allotment_promises import GenericPromise, Measurement


@dataclass(frozen=True)
class Options:
    filename: Path  # the greeting, relative to the partition
    to: str  # who must be greeted


class CheckGreeting(GenericPromise[Options]):
    """Passes when the text of ``filename`` names ``to``, in small or capital letters."""

    def sense(self) -> Measurement:
        try:
            text = (self.partition / self.options.filename).read_text().strip()
        except OSError as error:
            return Measurement.failed(f"{self.options.filename} can't be read: {error.strerror}")
        if self.options.to.lower() not in text.lower():
            return Measurement.failed(f"{self.options.filename} says {text!r}, which does not name {self.options.to}")
        return Measurement.passed(f"{self.options.filename} says {text!r}", length=len(text))
