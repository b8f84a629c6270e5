# SPDX-License-Identifier: Apache-2.0
"""The files of a revision, from the archive that git makes of it."""

from pathlib import Path

from allotment_recipes.archive_limits import Rules
from allotment_recipes.unpack import unpack

_RULES = Rules(size=2 << 30, times=False, odd_names=True)


def unpack_revision(archive: Path, target: Path, revision: str) -> None:
    """Unpack a revision's archive, which is removed."""
    unpack(archive, target, strip_top_level=False, rules=_RULES, where=f"the archive of revision {revision}")
    archive.unlink()
