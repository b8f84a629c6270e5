# SPDX-License-Identifier: Apache-2.0
"""What releases are called on pages, and where their own pages are."""

from collections.abc import Iterable
from itertools import pairwise
from urllib.parse import quote, urlencode

from allotment_testfarm.db.matrix import Key

USUAL_KIND = "release"  # neither it nor the usual platform needs to be named
USUAL_PLATFORM = "any"


def within_kind(keys: Iterable[Key]) -> dict[Key, str]:
    """Name each (release, kind, platform) among others of its kind: by the release alone where that is enough."""
    keys = sorted(keys)
    several = {key[:2] for key, other in pairwise(keys) if key[:2] == other[:2]}
    return {key: f"{key[0]} {key[2]}" if key[:2] in several else key[0] for key in keys}


def whole(keys: Iterable[Key]) -> dict[Key, str]:
    """Name each (release, kind, platform) among all others."""
    return {
        key: name if key[1] == USUAL_KIND else f"{name}, {spoken(key[1])}" for key, name in within_kind(keys).items()
    }


def spoken(kind: str) -> str:
    """Return a kind of jobs as people say it."""
    return kind.replace("-", " ")


def release_href(project: str, key: Key, **query: int) -> str:
    """Return the address of a release's page."""
    release, kind, platform = key
    given: dict[str, str | int] = {"project": project}
    if kind != USUAL_KIND:
        given["kind"] = kind
    if platform != USUAL_PLATFORM:
        given["platform"] = platform
    return f"/releases/{quote(release, safe='')}?{urlencode({**given, **query})}"
