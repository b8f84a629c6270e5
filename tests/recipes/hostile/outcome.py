# SPDX-License-Identifier: Apache-2.0
"""Unpack one archive in a process of its own, as ``python outcome.py ARCHIVE FOLDER SIZE COUNT``; tell how it ended.

It may have little memory, and is ended when it takes too long.
"""

import json
import resource
import sys
import time
from pathlib import Path

from allotment_recipes.archive_limits import Rules, UnpackError
from allotment_recipes.unpack import unpack

MEMORY = 640 << 20  # bytes of addresses, Python and its libraries among them
SECONDS = 40


def main() -> None:
    """Print the outcome, the error's text and the most memory that was used, as JSON."""
    archive, folder, size, count = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    before = time.monotonic()
    outcome, text = "unpacked", ""
    try:
        unpack(Path(archive), Path(folder), rules=Rules(size=int(size), count=int(count)), where="x")
    except UnpackError as error:
        outcome, text = "refused", str(error)
    status = Path("/proc/self/status").read_text()  # getrusage would tell of our parent, too
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"outcome": outcome, "text": text, "peak": peak, "seconds": time.monotonic() - before}))


if __name__ == "__main__":
    main()
