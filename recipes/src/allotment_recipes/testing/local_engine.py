# SPDX-License-Identifier: Apache-2.0
"""The driver's runs in the test's own process: as fast as they get, and a debugger can stop in a recipe."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from allotment_recipes.engine import BuildEngine
from allotment_recipes.process_state import kept_process_state


class LocalEngine(BuildEngine):
    """A :class:`BuildEngine` without processes of its own. Time limits are the test runner's; one run at a time."""

    def _ask(self, kind: str, fields: Mapping[str, Any], timeout: float, log: Path) -> dict[str, Any]:
        from allotment_recipes.runs.kinds import run  # imports buildout: 0.3 s, once

        log.parent.mkdir(parents=True, exist_ok=True)
        plain = {key: str(value.absolute()) if isinstance(value, Path) else value for key, value in fields.items()}
        start = log.stat().st_size if log.exists() else 0
        began = time.monotonic()
        with kept_process_state(), _output_to(log):
            answer = run(kind, plain)
        with log.open("rb") as file:  # whoever looks at a failed test sees what its runs said
            file.seek(start)
            sys.stderr.write(file.read().decode(errors="replace"))
        return {**answer, "seconds": time.monotonic() - began}


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what recipes and the programs that they start print to the end of ``log``."""
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        kept = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
