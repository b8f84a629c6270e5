# SPDX-License-Identifier: Apache-2.0
"""Other machines' source caches, as ``allot source serve`` serves them; only the hash decides.

Their addresses are in the environment variable ``ALLOTMENT_SOURCE_SERVERS``, with blanks between, and in the file
``allotment/source-servers`` of the user's configuration (``~/.config``), one a line. They are asked after the local
cache and before all that is upstream. ``off`` in the variable: none is asked.
"""

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.configuration import user_folder
from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment_recipes.providers import url as url_provider
from allotment_recipes.sources import DiskError, NotMine, Source

VARIABLE: Final = "ALLOTMENT_SOURCE_SERVERS"
FILE: Final = "source-servers"  # in the folder of the user's settings
REST: Final = 60.0  # seconds in which a server that was away is not asked again
_TIMEOUT: Final = 10.0  # seconds without a byte
_away: dict[str, float] = {}  # -> when it was found to be away, of the monotonic clock


def fetch(source: Source, blobs: BlobStore) -> None:
    """Ask each server in turn."""
    _ask_each(lambda server: url_provider.bring(f"{server}/{source.sha256}", source, blobs, _TIMEOUT))


def download(place: str, source: Source, path: Path) -> None:
    """Bring what a server has at ``place`` to ``path``; whoever calls checks the bytes."""
    _ask_each(lambda server: url_provider.download(f"{server}/{place}", source, path, _TIMEOUT))


def _ask_each(bring: Callable[[str], None]) -> None:
    reasons: list[str] = []
    kind: type[AllotmentError] = AllotmentError
    for server in servers():
        if time.monotonic() - _away.get(server, -REST) < REST:
            reasons.append(f"{url_provider.shown(server)}: it was away just now")
            continue
        try:
            bring(server)
            return
        except DiskError:
            raise
        except AllotmentError as error:
            reasons.append(f"{url_provider.shown(server)}: {error.what}")
            if isinstance(error, UnreachableError):
                kind = UnreachableError
                _away[server] = time.monotonic()
    if not reasons:
        raise NotMine("no server is configured")
    raise kind("; ".join(reasons))


def ask_first(addresses: Iterable[str]) -> None:
    """Let this process, and the builds that it starts, ask these servers before those that are configured."""
    if text := " ".join(addresses):
        os.environ[VARIABLE] = f"{text} {os.environ.get(VARIABLE, '')}".strip()


def servers() -> list[str]:
    """Return the addresses of the servers, in the order in which they are asked."""
    text = os.environ.get(VARIABLE, "")
    if "off" in text.split():
        return []
    text += "\n" + _configured()
    found = [word.rstrip("/") for word in text.split()]
    for word in found:
        if not re.match(r"https?://[^/]", word):
            where = user_folder() / FILE if word not in os.environ.get(VARIABLE, "") else VARIABLE
            raise AllotmentError(
                f"{where}: {url_provider.shown(word)!r} is no address of a server", "Write http:// or https://"
            )
    return list(dict.fromkeys(found))


def _configured() -> str:
    """Return what the user's file says, without comments; nothing where there is none."""
    try:
        file = user_folder() / FILE
        return re.sub(r"#.*", "", file.read_text(encoding="utf-8"))
    except (MachineError, FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise AllotmentError(f"{file} can't be read: {reason}", "Write one address a line") from error
