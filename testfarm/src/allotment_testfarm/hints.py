# SPDX-License-Identifier: Apache-2.0
"""Hints between the programs of a farm on one machine: an engine that is told looks at once at what waits.

Each engine has a pipe in the farm's folder. A hint that does not come through loses nothing: the engine's sweep finds
within a second what the database says.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

PIPE: Final = "engine.hints"  # its name begins with the engine's where there are several


def tell_engines(folder: Path) -> None:
    """Tell the engines over a farm's folder that jobs wait; to be called after the transaction is committed."""
    for path in folder.glob(f"*{PIPE}"):
        with suppress(OSError):  # no engine runs, it is another user's, or it has hints enough
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if stat.S_ISFIFO(os.fstat(handle).st_mode):
                    os.write(handle, b".")
            finally:
                os.close(handle)
