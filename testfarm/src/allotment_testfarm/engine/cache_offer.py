# SPDX-License-Identifier: Apache-2.0
"""What the engine tells test nodes of the farm's binary cache, which the web tier serves."""

import json
from pathlib import Path
from urllib.parse import urljoin

from allotment_recipes.binary_cache.keys import read_keys
from allotment_testfarm.engine.naming import own
from allotment_testfarm.wire import CacheOffer

PARTS = "cache/parts"  # in the farm's folder: where the cache keeps its parts, unless it is told another place
BUILDERS = "builders.pub"  # in the farm's folder: the keys whose parts it takes, written by its operator


def cache_offer(folder: Path, name: str) -> CacheOffer:
    """Return what the web tier beside the engine of this name offers now; a list that is damaged is an error."""
    try:
        document = json.loads((folder / own(name, "web.json")).read_bytes())
    except FileNotFoundError:  # it starts again
        return CacheOffer()
    if not document.get("cache"):
        return CacheOffer()
    return CacheOffer(urljoin(document["url"], document["cache"]), read_keys(folder / BUILDERS))
