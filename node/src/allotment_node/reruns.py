# SPDX-License-Identifier: Apache-2.0
"""Promises that somebody has run by hand: the agent is asked to judge them too, and not only at their next time."""

import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError

_SIZE_LIMIT: Final = 1 << 22  # bytes of the names of a partition's promises
_log = logging.getLogger(__name__)


def ask(folder: Path, partition: str, names: Iterable[str]) -> None:
    """Ask for promises of a partition; ``folder`` is :attr:`NodeFolder.reruns`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    write_bytes(folder / f"{partition}.{secrets.token_hex(8)}", json.dumps(sorted(names)).encode(), 0o600, sync=False)


def take(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield partitions and the promises that are asked for, each time once."""
    for path in sorted(folder.glob("*")):
        if path.name.startswith("."):
            continue  # being written
        try:
            names = json.loads(read_limited(path, _SIZE_LIMIT) or b"[]")
        except (OSError, ValueError, AllotmentError) as error:
            _log.warning("%s is left out: %s", path, error)
            names = []
        path.unlink(missing_ok=True)
        if isinstance(names, list) and names:
            yield path.name.partition(".")[0], [name for name in names if isinstance(name, str)]
