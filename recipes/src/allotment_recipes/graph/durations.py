# SPDX-License-Identifier: Apache-2.0
"""How long parts took when they were built the last time, by the notes of the store."""

import json
import os
from pathlib import Path


def expected(root: Path, part: str) -> float | None:
    """Return the seconds that the last build of a part took, of any version and inputs; None when it is not known."""
    try:
        with os.scandir(root / ".built") as entries:
            found = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.name.startswith(f"{part}-")]
    except OSError:  # nothing was built there yet
        return None
    for _, path in sorted(found, reverse=True):
        try:
            note = json.loads(Path(path).read_bytes())
            if note["part"] == part:  # and not one whose name begins alike
                return float(note["seconds"])
        except (OSError, ValueError, KeyError, TypeError):  # it has gone meanwhile, or is damaged
            continue
    return None
