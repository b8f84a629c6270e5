# SPDX-License-Identifier: Apache-2.0
"""Which files a release can read, told from the text of its profiles alone: what a job of the farm depends on.

Never less than the closure of :mod:`allotment_recipes.closure`, which is what a build can see; in doubt a whole folder.
Nothing of buildout is imported, so the farm's engine stays small. Paths are those of a tree: relative, with slashes.
"""

import hashlib
import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final

from allotment.codec import canonical
from allotment_recipes.closure import is_ignored

MISSING: Final = "missing"  # stands for a profile that is extended and not there
_LINK: Final = "120000"  # git's mode of a symbolic link
_FILE: Final = "100"  # begins git's mode of a regular file
_HEADER = re.compile(r"\[\s*([^\s\[\]{}:]+)")
_EXTENDS = re.compile(r"(?:optional-)?extends\s*[+-]?=(.*)")
_VARIABLE = re.compile(r"\$\{[^:}]*:\s*([^}]+?)\s*\}")
_CHECKSUM = re.compile(r"(?<=.)#(?:sha256|md5)=[0-9A-Fa-f]*\Z")
_NAMED = re.compile(r"\$\{[^}:]*:_profile_base_location_\}/?([^\s'\"#;,]*)")


@dataclass(frozen=True)
class Links:
    """What one profile says of other files."""

    extends: tuple[str, ...]  # as written
    named: tuple[str, ...]  # behind ${:_profile_base_location_}/, up to the first variable
    variables: frozenset[str] = frozenset()  # options that stand in such names
    # Options whose value may be a way to another folder: (option, value), for any section.
    ways: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Group:
    """Files that a release can read, by path: what the tree says of each, or ``missing``."""

    files: Mapping[str, str]

    @cached_property
    def sha256(self) -> str:
        """The hash of the group's canonical JSON."""
        return hashlib.sha256(canonical(self.files)).hexdigest()


@dataclass(frozen=True)
class Reached:
    """What a release can read, a group for each folder; the one of "" has single files from anywhere.

    Releases share the groups of what they both extend, so that a large repository takes little time and space.
    """

    groups: Mapping[str, Group]
    problem: str = ""  # why it can't be told; there are no groups then
    # Files and folders that were looked at, there or not: as long as nothing at or below them changes, all is as it is.
    looked_at: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def files(self) -> dict[str, str]:
        """All files by path."""
        return {path: entry for group in self.groups.values() for path, entry in group.files.items()}

    def holds(self, changed: Iterable[str]) -> bool:
        """Whether all of it is true of a tree, too, in which these paths are others."""
        if self.problem:
            return False
        return not any(path in self._ways or not self.looked_at.isdisjoint(_upwards(path)) for path in changed)

    @cached_property
    def _ways(self) -> frozenset[str]:
        """The folders above all that was looked at: a symbolic link in such a place would lead elsewhere."""
        return frozenset(folder for path in self.looked_at for folder in _upwards(path) if folder != path)


class Tree:
    """All files of a revision: path -> mode and hash, as git writes them.

    Groups that are the same in the tree ``before`` are taken from it, with their hashes.
    """

    def __init__(self, entries: Mapping[str, str], before: "Tree | None" = None) -> None:
        self.entries = entries
        self._paths = sorted(entries)
        self._links = [path for path, entry in entries.items() if entry.startswith(_LINK)]
        self._groups: dict[tuple[str, bool], Group] = {}
        self._kept = {} if before is None else before._groups
        self._targets: dict[str, tuple[str, ...]] = {}

    def changed(self, other: "Tree") -> set[str]:
        """Return the paths that are not the same in another tree."""
        return {path for path, _ in self.entries.items() ^ other.entries.items()}

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file of this name."""
        return self.entries.get(path, "").startswith(_FILE)

    def below(self, folder: str) -> Sequence[str]:
        """Return every path below a folder; "" is the whole tree."""
        if not folder:
            return self._paths
        begin = bisect_left(self._paths, f"{folder}/")
        return self._paths[begin : bisect_left(self._paths, f"{folder}0", begin)]  # "0" comes after "/"

    def group(self, folder: str, *, is_own: bool) -> Group:
        """Return the files of a release's own folder, or of another's what a closure would take of it."""
        key = (folder, is_own)
        if key not in self._groups:
            start = len(folder) + 1
            paths = self.below(folder)
            if not is_own:
                paths = [path for path in paths if not any(map(is_ignored, path[start:].split("/")))]
            group, kept = self.pick(paths), self._kept.get(key)
            self._groups[key] = group if kept is None or kept.files != group.files else kept
        return self._groups[key]

    def pick(self, paths: Iterable[str]) -> Group:
        """Return a group of single files; what a symbolic link leads to is not known."""
        files = {path: self.entries.get(path, MISSING) for path in sorted(paths)}
        if link := next((path for path, entry in files.items() if entry.startswith(_LINK)), None):
            raise _UntoldError(f"{link} is a symbolic link")
        return Group(files)

    def targets(self, path: str, found: Links) -> tuple[str, ...]:
        """Return the paths that a profile extends."""
        if path not in self._targets:
            targets = [_target(path, text) for text in found.extends]
            self._targets[path] = tuple(target for target in targets if target is not None)
        return self._targets[path]

    def link_on_the_way(self, path: str) -> str | None:
        """Return the symbolic link that a path is, or leads through."""
        if not self._links:
            return None
        return next((link for link in self._links if path == link or path.startswith(f"{link}/")), None)


class _UntoldError(Exception):
    """Something can't be told from the tree."""


def links(text: str) -> Links:
    """Return what a profile extends and names; conditions on sections are taken to hold."""
    extends: list[str] = []
    ways: set[tuple[str, str]] = set()
    section, name, is_extends = "", "", False
    for line in text.replace("\r", "\n").split("\n"):  # buildout ends a line nowhere else
        if not line.strip() or line.startswith(("#", ";")):
            continue  # neither ends an option; an indented comment is none for buildout
        if line[0].isspace():
            extends += line.split() if is_extends else ()
            value = line.strip()
        elif header := _HEADER.match(line):
            section, name, value, is_extends = header[1], "", "", False
        else:
            option = _EXTENDS.match(line) if section == "buildout" else None
            is_extends = option is not None
            extends += option[1].split() if option else ()
            name, _, value = (part.strip() for part in line.partition("="))
        if ("${" in value or ".." in value) and not is_extends:
            ways.add((name.rstrip("+- "), value))
    names = set(_NAMED.findall(text))
    variables = frozenset(option for item in names for option in _VARIABLE.findall(item))
    return Links(tuple(extends), tuple(sorted(map(_static, names))), variables, frozenset(ways))


def _static(name: str) -> str:
    """Return a name up to the folder in which a variable stands."""
    fixed, dollar, _ = name.partition("$")
    return fixed.rpartition("/")[0] if dollar else fixed


def reach(profile: str, tree: Tree, links_of: Callable[[str], Links]) -> Reached:
    """Return what the release of ``profile`` can read; ``links_of`` is asked for files of the tree only.

    That is its own folder with its tests, what pytest loads from the folders above it, each profile that is extended
    with the rest of that one's folder, and what they name elsewhere.
    """
    own = posixpath.dirname(profile)
    try:
        found = dict(_profiles(profile, tree, links_of))
        groups = {own: tree.group(own, is_own=True)}
        conftests = _conftests(own)
        single = {path for path in conftests if path in tree.entries}
        looked_at = {own, *conftests, *found}
        _check_variables(found)
        names = {name for item in found.values() for name in item.named}
        leaving = {name for name in names if ".." in name.split("/")}
        folders = {path: path.rpartition("/")[0] for path in found}
        for folder in set(folders.values()):
            is_above = _is_above(folder, own)  # it holds other releases: only what is named there counts
            if not is_above and folder not in groups:
                groups[folder] = tree.group(folder, is_own=False)
                looked_at.add(folder)
            for name in names if is_above else leaving:  # in any folder: a macro's text counts where it is used
                path = _place(folder, name)
                if path is not None:
                    single.update(_named(path, tree))
                    looked_at.add(path)
        nowhere = Group({})
        single.update(path for path, folder in folders.items() if path not in groups.get(folder, nowhere).files)
        groups[""] = tree.pick(single)
    except _UntoldError as error:
        return Reached({}, str(error))
    kept = {folder: groups[folder] for folder in sorted(groups) if groups[folder].files}
    return Reached(kept, looked_at=frozenset(looked_at))


def next_profiles(path: str, found: Links, tree: Tree) -> tuple[str, ...]:
    """Return the paths that a profile extends; none where :func:`reach` will find fault with one."""
    try:
        return tree.targets(path, found)
    except _UntoldError:
        return ()


def _target(path: str, text: str) -> str | None:
    """Return the path that a profile at ``path`` means by ``extends = text``; None for a URL, whose pin is its text."""
    if "://" in text:
        if "#sha256=" in text or "#md5=" in text:
            return None
        raise _UntoldError(f"{path} extends {text}, which has no checksum")
    name = _CHECKSUM.sub("", text)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    if target.startswith(("/", "../", "~")) or target == ".." or "$" in target:
        raise _UntoldError(f"{path} extends {text}, which is outside the repository")
    return target


def _profiles(profile: str, tree: Tree, links_of: Callable[[str], Links]) -> Iterator[tuple[str, Links]]:
    seen = {profile}
    todo = [profile]
    while todo:
        path = todo.pop()
        if link := tree.link_on_the_way(path):
            raise _UntoldError(f"{link} is a symbolic link")
        found = links_of(path) if tree.is_file(path) else Links((), ())
        yield path, found
        for target in tree.targets(path, found):
            if target not in seen:
                seen.add(target)
                todo.append(target)


def _check_variables(found: Mapping[str, Links]) -> None:
    """Raise where a variable in the name of a file may lead to another folder, itself or by another variable."""
    todo = {option for item in found.values() for option in item.variables}
    seen: set[str] = set()
    while todo - seen:
        wanted = todo - seen
        seen |= wanted
        for path, item in found.items():
            for option, value in item.ways:
                if option in wanted:
                    if ".." in value.split("/"):
                        raise _UntoldError(f"{path} names files by {option} = {value}, which leads to another folder")
                    todo.update(_VARIABLE.findall(value))


def _conftests(folder: str) -> list[str]:
    return [(parent / "conftest.py").as_posix() for parent in PurePosixPath(folder).parents]


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and all folders above it, at last the whole tree's, which is ""."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _is_above(folder: str, other: str) -> bool:
    return not folder or other.startswith(f"{folder}/")


def _place(folder: str, name: str) -> str | None:
    """Return the path that is named in a folder, "" for the whole tree; None for one outside: no build reads it."""
    path = posixpath.normpath(posixpath.join(folder, name)).rstrip("/") if folder or name else ""
    return None if path.startswith("../") or path == ".." else "" if path == "." else path


def _named(path: str, tree: Tree) -> Sequence[str]:
    if link := tree.link_on_the_way(path):
        raise _UntoldError(f"{link} is a symbolic link")
    return [path] if path in tree.entries else tree.below(path)
