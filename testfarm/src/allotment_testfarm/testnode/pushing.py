# SPDX-License-Identifier: Apache-2.0
"""Give parts that a test node has built to a binary cache, one after the other."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.binary_cache.caches import BinaryCache
from allotment_recipes.binary_cache.push import Pushed, push, with_references
from allotment_recipes.signing import SigningKey
from allotment_recipes.stores.notes import read_note
from allotment_recipes.stores.verify import verify_part

_log = logging.getLogger(__name__)


def push_proved(
    cache: BinaryCache, root: Path, parts: Iterable[str], key: SigningKey, done: Callable[[str], None]
) -> bool:
    """Push those of ``parts`` that were built here, with what they refer to; ``done`` hears of each that is settled.

    False when some are to be tried again. A part that came from a cache is not signed: this test node can't know how it
    was built. One that is not as it was built is not pushed.
    """
    is_all = True
    for part in dict.fromkeys((*with_references(root, parts), *parts)):
        note = read_note(root, part)
        if note is None or "fetched" in note:
            done(part)
            continue
        try:
            _push(cache, root, part, key)
        except AllotmentError as error:
            is_all = False
            _log.warning("%s is not pushed: %s", part, error)
            if isinstance(error, UnreachableError):
                return False
            continue
        done(part)
    return is_all


def _push(cache: BinaryCache, root: Path, part: str, key: SigningKey) -> None:
    problems = () if part in cache.entries([part]) else verify_part(root, part).problems
    if problems:
        _log.warning("%s is damaged and not pushed: %s. Repair the store with 'allot store verify'", part, problems[0])
        return
    push(cache, root, [part], key, _tell, 1)


def _tell(result: Pushed) -> None:
    if result.state == "added":
        _log.info("pushed %s, %.1f MB", result.part, result.bytes / 1e6)
    elif result.state == "refused":
        _log.warning("%s can't be pushed: %s", result.part, result.reason)
