# SPDX-License-Identifier: Apache-2.0
"""Bring the archive of a site into an instance: ``python -m allotment_recipes.site_archive FOLDER [URL SHA256]``.

The release static-site runs it from ``etc/run``. The archive's files are in ``FOLDER/<sha256>`` when it is done, all
at once; the folders of other archives are removed. It needs no more rights than the instance has.
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.archive_limits import Rules
from allotment_recipes.providers import url as url_provider
from allotment_recipes.sources import Source
from allotment_recipes.unpack import unpack

PAUSES: Final = (1.0, 5.0, 20.0, 60.0, 300.0, 900.0)  # seconds between attempts
LIMIT: Final = 1 << 30  # bytes of the archive, and of all its files together


def bring(folder: Path, url: str, sha256: str) -> None:
    """Fetch and unpack the archive unless it is there."""
    target = folder / sha256
    if target.is_dir():
        return
    blobs = BlobStore(folder / ".fetched")
    source = Source(sha256, url_provider.shown(url), (url,), size_limit=LIMIT)
    if sha256 not in blobs:
        url_provider.fetch(source, blobs)
    unpack(blobs.path(sha256), target, strip_top_level=False, rules=Rules(size=LIMIT))
    shutil.rmtree(blobs.folder)


def remove_others(folder: Path, keep: str) -> None:
    """Remove what earlier archives have left."""
    for path in folder.glob("[0-9a-f]*"):
        if re.fullmatch(r"[0-9a-f]{64}", path.name) and path.name != keep:
            shutil.rmtree(path)


def main(arguments: Sequence[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Try until it works, for about twenty minutes; each failure is one line in the instance's log."""
    folder = Path(arguments[0])
    url, sha256 = (*arguments[1:3], "", "")[:2]
    for pause in (*PAUSES, 0.0):
        try:
            if url:
                bring(folder, url, sha256)
            remove_others(folder, sha256)
            return 0
        except AllotmentError as error:
            sys.stderr.write(f"{error}\n")
            if pause:
                sleep(pause)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
