# SPDX-License-Identifier: Apache-2.0
"""The options that pin what a recipe fetches: the same names, checks and errors in each such recipe."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem
from allotment_recipes.context import RunContext
from allotment_recipes.providers.url import shown
from allotment_recipes.sources import Source


@dataclass(frozen=True)
class DownloadOptions:
    url: str  # http, https or file URL, or a path
    sha256sum: str = ""  # 64 hexadecimal digits: what decides whether bytes are accepted
    md5sum: str = ""  # checked as well when given
    alternate_url: Lines = Lines(())  # further URLs, one a line, tried in order
    offline: bool = False  # take the bytes from the source cache only
    version: str = "1"  # a word in the part's folder name
    shared: bool = False  # into the store that all releases share; false: into the release's own

    def source(self, run: RunContext) -> Source:
        """Return what is to be fetched."""
        urls = () if self.offline else (self.url, *self.alternate_url)
        if not self.offline:
            check_reach(run, {"url": [self.url], "alternate-url": self.alternate_url})
        return pinned_source(file_name(self.url), self.sha256sum, self.md5sum, urls)


# Where the bytes come from and whether they are checked twice; the sha256 says which bytes.
NOT_INPUTS = frozenset({"url", "md5sum", "alternate-url", "offline", "shared"})


def pinned_source(
    name: str,
    sha256sum: str,
    md5sum: str = "",
    urls: tuple[str, ...] = (),
    *,
    debian: str = "",
    npm: str = "",
    sdist: str = "",
) -> Source:
    """Return a source that is known by its sha256; an option that is missing or wrong is named."""
    if not sha256sum:
        problem = "missing option, and an md5 alone pins nothing" if md5sum else "missing option"
        raise OptionProblem("sha256sum", problem, "Add 'sha256sum = ...'")
    debian = " ".join(debian.split())
    checks: dict[str, dict[str, Any]] = {
        "sha256sum": {},
        "md5sum": {"md5": md5sum.lower()},
        "debian-source": {"debian": debian},
        "npm": {"npm": npm},
        "python-source": {"sdist": sdist},
    }
    for option, fields in checks.items():
        if fields and not any(fields.values()):
            continue
        try:
            Source(sha256sum.lower(), name, **fields)
        except AllotmentError as error:
            raise OptionProblem(option, error.what.removeprefix(f"{name}: "), error.fix) from error
    return Source(sha256sum.lower(), name, urls, md5=md5sum.lower(), debian=debian, npm=npm, sdist=sdist)


def check_reach(run: RunContext, places: Mapping[str, Iterable[str]]) -> None:
    """Raise when an instance would fetch from elsewhere; ``places`` are the URLs that each option names."""
    for option, urls in places.items():
        for url in urls:
            if run.instance is not None and "://" in url and not url.startswith("file:"):
                raise elsewhere(option, shown(url))


def elsewhere(option: str, place: str) -> OptionProblem:
    """Return the problem of an instance that would fetch from ``place``."""
    fix = "Fetch it in the software release, and hand on where it is"
    return OptionProblem(option, f"{place} is elsewhere, and an instance fetches nothing", fix)


def file_name(url: str) -> str:
    """Return the last word of a URL's path; a server's name, perhaps with a password, is none."""
    url = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "", url)
    return url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]
