# SPDX-License-Identifier: Apache-2.0
"""A full disk, told from everything else that may go wrong: it is no bug, and whoever makes room mends it."""

import errno
import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT)
_POSTGRESQL: Final = "53100"  # SQLSTATE disk_full


def lack_of_space(error: BaseException) -> str:
    """Return what an error says of a full disk, the farm's or the database's; "" when it is another error."""
    if isinstance(error, OSError) and error.errno in _ERRORS:
        return str(error)
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _POSTGRESQL:
            return str(error.orig)
    return ""
