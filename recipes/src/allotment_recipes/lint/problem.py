# SPDX-License-Identifier: Apache-2.0
"""What a check has found."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """One problem at one place; ``rule`` is the name by which it can be left out."""

    path: Path
    line: int  # from 1; 0: the file as a whole
    rule: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        fix = f" {self.fix.removesuffix('.')}." if self.fix else ""
        return f"{place}: {self.what.removesuffix('.')}.{fix} [{self.rule}]"
