# SPDX-License-Identifier: Apache-2.0
"""The farm's binary cache, beside its pages: everybody may read, test nodes add what named builders have signed."""

import shutil
from functools import partial
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp

from allotment.errors import UnreachableError
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.binary_cache.http import API
from allotment_recipes.binary_cache.keys import read_keys
from allotment_recipes.binary_cache.server import PIECE, Settings, create_app
from allotment_testfarm.engine.cache_offer import BUILDERS, PARTS
from allotment_testfarm.engine.settings import node_token

OFF: Final = "off"  # the place of a cache that there is not
PLACE: Final = "/cache"  # below the pages' address
UPLOADS: Final = "cache/uploads"  # in the farm's folder
_RESERVE: Final = 2 << 30  # bytes; of a small disk less


def create_cache(folder: Path, keep: str) -> ASGIApp | None:
    """Return the cache of the farm in ``folder``; its parts are kept at ``keep``, "" for inside that folder."""
    if keep == OFF:
        return None
    cache = open_cache(keep or str(folder / PARTS))
    token = node_token(folder).reveal()
    return create_app(
        Settings(
            cache, folder / UPLOADS, token, lambda: read_keys(folder / BUILDERS),
            check_room=partial(_leave_room, folder),
        )
    )  # fmt: skip


def _leave_room(folder: Path, size: int) -> None:
    """Refuse what would fill the farm's disk: verdicts and logs come first."""
    disk = shutil.disk_usage(folder)
    reserve = min(disk.total // 20, _RESERVE)
    if disk.free - size < reserve:
        raise UnreachableError(
            f"a part needs {size / 1e6:.0f} MB of the farm's disk, on which {disk.free / 1e6:.0f} MB are free and "
            f"{reserve / 1e6:.0f} MB are kept for logs and results",
            "Make room there",
        )


def limit_of(path: str) -> int | None:
    """Return how many bytes a request may have; None for what is usual."""
    return PIECE if path.startswith(f"{PLACE}{API}/uploads/") else None
