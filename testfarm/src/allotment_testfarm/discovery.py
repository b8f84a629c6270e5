# SPDX-License-Identifier: Apache-2.0
"""Finding the software releases of a revision, ``software/<name>/software.cfg``, and what each of them reads.

There is no checkout: all is told from git's tree and the text of the profiles.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from allotment.codec import Json
from allotment_recipes import reach
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
    priority: int = 0  # of its job: the highest goes first
    is_fresh: bool = False  # its job is run, whatever was proved before
    files: Mapping[str, reach.Group] | None = None  # all that its job can read, by folder; None: not known
    problem: str = ""  # why ``files`` can't be told


class Discovery:
    """Finds the releases of one repository's commits.

    It remembers what each profile says, by the hash of its text, and what each release of the last commit reads.
    """

    def __init__(self, mirror: Mirror, timeout: float = 3600.0, only: Collection[str] = ()) -> None:
        self._mirror = mirror
        self._timeout = timeout  # seconds for each job
        self._only = only  # names of releases; empty: all that there are
        self._links: dict[str, reach.Links] = {}  # of the profiles of the last commit, by their blobs
        self._tree = reach.Tree({})  # of the last commit
        self._reached: dict[str, reach.Reached] = {}  # by profile

    def find(self, commit: str) -> tuple[Release, ...]:
        """Return the releases of a commit by name, with what they read; none is no error. Blocks."""
        tree = reach.Tree(self._mirror.tree(commit), self._tree)
        every = releases_among(filter(tree.is_file, tree.entries), self._timeout)
        releases = [release for release in every if not self._only or release.name in self._only]
        changed = tree.changed(self._tree)
        reached_by = {
            profile: reached
            for profile, reached in self._reached.items()
            if tree.is_file(profile) and reached.holds(changed)
        }
        stale = [release.profile for release in releases if release.profile not in reached_by]
        links = self._read(stale, tree)
        reached_by |= {profile: reach.reach(profile, tree, links.__getitem__) for profile in stale}
        self._tree, self._reached = tree, reached_by
        found = []
        for release in releases:
            reached = reached_by[release.profile]
            known = None if reached.problem else reached.groups
            found.append(replace(release, files=known, problem=reached.problem))
        return tuple(found)

    def _read(self, profiles: Iterable[str], tree: reach.Tree) -> dict[str, reach.Links]:
        """Return what each profile that is reached says, by path; one call of git for each step of extending."""
        links: dict[str, reach.Links] = {}
        blobs_there = {entry.partition(" ")[2] for entry in tree.entries.values()}
        kept = {blob: found for blob, found in self._links.items() if blob in blobs_there}
        todo = set(profiles)
        while todo:
            blobs = {path: tree.entries[path].partition(" ")[2] for path in todo}
            unknown = {blob for blob in blobs.values() if blob not in kept}
            texts = self._mirror.contents(sorted(unknown)) if unknown else {}
            for path, blob in blobs.items():
                links[path] = kept[blob] = kept.get(blob) or reach.links(texts[blob].decode(errors="replace"))
            targets = {target for path in todo for target in reach.next_profiles(path, links[path], tree)}
            todo = {path for path in targets if path not in links and tree.is_file(path)}
        self._links = kept
        return links


def releases_among(paths: Iterable[str], timeout: float = 3600.0) -> tuple[Release, ...]:
    """Return the releases whose profile is among ``paths``, by name."""
    found = (_PROFILE.fullmatch(path) for path in sorted(paths))
    return tuple(
        Release(name=match[1], profile=match[0], timeout=timeout)
        for match in found
        if match is not None and match[1] not in _NOT_RELEASES
    )
