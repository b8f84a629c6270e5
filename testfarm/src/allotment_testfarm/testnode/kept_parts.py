# SPDX-License-Identifier: Apache-2.0
"""The built parts that a test node keeps from job to job: those that jobs have asked for not long ago."""

import logging
import threading
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.store import padded_root
from allotment_recipes.stores.collect import collect

DAY: Final = 86400.0  # seconds
_log = logging.getLogger(__name__)


class KeptParts:
    """The store in ``folder``, of which parts go that no job has asked for in ``days`` and no running job needs."""

    def __init__(self, folder: Path, days: float) -> None:
        self._folder = folder
        self._days = days

    def keep_small(self, stopping: threading.Event) -> None:
        """Collect now and then each day, until told to stop; on a thread of its own."""
        while True:
            self.collect(self._days)
            if stopping.wait(DAY):
                return

    def collect(self, days: float) -> int:
        """Remove what was not asked for in ``days`` and is not needed now; return the bytes that are free by that."""
        try:
            root = padded_root(self._folder)
            freed = collect(root, older_than=days * DAY).freed if (root / ".roots").is_dir() else 0
        except (AllotmentError, OSError) as error:  # such as another test node that collects the same store
            _log.warning("built parts: %s", error)
            return 0
        if freed:
            _log.info("removed built parts that no job has asked for in %g days: %.1f MB", days, freed / 1e6)
        return freed
