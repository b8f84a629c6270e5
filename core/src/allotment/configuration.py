# SPDX-License-Identifier: Apache-2.0
"""Where a user's own settings are: keys that are trusted, servers that are asked."""

import os
from pathlib import Path

from allotment.errors import MachineError


def user_folder() -> Path:
    """Return ``allotment`` in ``$XDG_CONFIG_HOME``, or in ``~/.config``; a relative path in it is passed over.

    The XDG Base Directory Specification says so: it would be another folder in each working folder.
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.config")  # noqa: PTH111 (Path raises what users can't read)
    if not base.startswith("/"):
        raise MachineError("this user has no home folder, so there is no place for settings", "Set HOME")
    return Path(base, "allotment")
