# SPDX-License-Identifier: Apache-2.0
"""What every program does before it serves: hold its folder, log to stderr. Imports no web framework."""

import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from allotment.errors import AllotmentError


@contextlib.contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Hold the folder for this process; a second one is refused. The lock ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AllotmentError(
                f"{folder}: {name} runs already, as process {_holder(file)}", "Stop it, or use another folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log one line per event, with its time, to stderr: what a program calls before it serves."""
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("uvicorn.error", "alembic", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "?"
