# SPDX-License-Identifier: Apache-2.0
"""Finding the software releases of a revision: each ``software/<name>/software.cfg``, without a checkout."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from allotment.codec import Json
from allotment_testfarm.git import Mirror

FOLDER = "software"
_PROFILE = re.compile(rf"{FOLDER}/([A-Za-z0-9][A-Za-z0-9._-]*)/software\.cfg")
_NOT_RELEASES = frozenset({"stack"})  # profiles that releases extend


@dataclass(frozen=True)
class Release:
    """A software release that a revision holds, and how it is tested."""

    name: str
    profile: str  # path of its software.cfg inside the revision
    kind: str = "release"
    platform: str = "any"
    timeout: float = 3600.0  # seconds
    options: Mapping[str, Json] = field(default_factory=dict)  # for the job kind


def discover(mirror: Mirror, commit: str, timeout: float = 3600.0) -> tuple[Release, ...]:
    """Return the releases of a commit by name; none is no error."""
    return releases_among((file.path for file in mirror.files(commit, FOLDER)), timeout)


def releases_among(paths: Iterable[str], timeout: float = 3600.0) -> tuple[Release, ...]:
    """Return the releases whose profile is among ``paths``, by name."""
    found = (_PROFILE.fullmatch(path) for path in sorted(paths))
    return tuple(
        Release(name=match[1], profile=match[0], timeout=timeout)
        for match in found
        if match is not None and match[1] not in _NOT_RELEASES
    )
