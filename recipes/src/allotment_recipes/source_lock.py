# SPDX-License-Identifier: Apache-2.0
"""``allot.lock``: the sha256 of what profiles in SlapOS's dialect pin by an MD5, or by nothing.

It stands beside the profile and is committed with it. ``allot lock`` writes what the first fetch brought; from then on
only these bytes are accepted, whatever the MD5 says.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited, write_bytes
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import commit_lock
from allotment_recipes.egg_lock import Wheels, is_sdist, plain_name, resolve, sdist, sdist_hash
from allotment_recipes.engine import Recorded
from allotment_recipes.lock_file import Contents, Pin, parse, text_of
from allotment_recipes.option_error import ProfileError
from allotment_recipes.providers.url import shown
from allotment_recipes.source_cache.first_fetch import first_fetch

NAME: Final = "allot.lock"
_SIZE_LIMIT: Final = 16 << 20  # bytes of the lock file
_JOBS: Final = 4  # sources that are fetched at the same time
_UNKNOWN: Final = "0" * 64  # stands for a sha256 while it is being recorded
_REMOTE: Final = re.compile(r"(?i)(https?|ftp)://")
_PAIR: Final = re.compile(r"(?i)[\"']?((?:https?|ftp)://[^\s\"',]+)[\"']?[\s,]+[\"']?([0-9a-f]{32})(?![0-9a-f])")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class SourceLock:
    """The lock file of one profile; it is read when the first source is looked for."""

    def __init__(self, path: Path, run: Path, closure: Path | None = None, *, records: bool = False) -> None:
        """``run`` is the folder of the run: what is in it, but outside of ``closure``, is made by parts."""
        self._path = path
        self._run = run
        self._closure = closure
        self._records = records
        self._known: Contents | None = None
        self._wanted: dict[Pin, str] = {}  # -> the section that wants it
        self._wanted_eggs: dict[tuple[str, ...], tuple[str, Mapping[str, str]]] = {}  # -> section, and the versions
        self._wanted_commits: dict[tuple[str, str], str] = {}  # repository and revision -> the section
        self._fetched: dict[Pin, str] = {}  # profiles that were read to be recorded

    def complete(self, section: str, options: dict[str, str]) -> None:
        """Set ``sha256sum`` beside ``url``, and the sha256 of each of the ``patches``, where the profile has none."""
        url = options.get("url", "").strip()
        if url and not options.get("sha256sum", "").strip():
            sha256 = self._sha256(section, "url", url, options.get("md5sum", ""))
            if sha256:
                options["sha256sum"] = sha256
        if "patches" in options:
            lines = options["patches"].splitlines()
            options["patches"] = "\n".join(self._patch(section, line.strip()) for line in lines)

    def eggs(self, section: str, eggs: Iterable[str], versions: Mapping[str, str]) -> Wheels:
        """Return the wheels of eggs, and of all that they need, that is no part of the profile."""
        key = tuple(sorted(eggs))
        if self._records:
            self._wanted_eggs.setdefault(key, (section, versions))
            return {plain_name(egg): (versions.get(plain_name(egg), "0"), _UNKNOWN) for egg in key}
        found = self._read().eggs.get(key)
        if found is None:
            raise ProfileError(f"[{section}] eggs: {NAME} has no wheels for {' '.join(key)}", self._advice())
        for name, (version, _) in found.items():
            if versions.get(name, version) != version:
                problem = f"[versions] {name}: it is {versions[name]}, and {NAME} has the wheel of {version}"
                raise ProfileError(problem, self._advice())
        return found

    def source(self, section: str, url: str, md5: str) -> str:
        """Return the sha256 of what inline Python fetches."""
        return self._pinned(section, "url", Pin.of(url, md5))

    def note(self, section: str, options: Mapping[str, str]) -> None:
        """Note what inline Python will fetch, as far as options tell: ``url`` with ``md5sum``, and each such pair."""
        if not self._records:
            return
        pairs = [pair for text in options.values() for pair in _PAIR.findall(text)]
        if options.get("md5sum", "").strip():
            pairs.append((options.get("url", "").strip(), options["md5sum"]))
        for url, md5 in pairs:
            if _REMOTE.match(url):
                self._sha256(section, "url", url, md5)

    def sdist(self, section: str, egg: str, version: str) -> str:
        """Return the sha256 of the source archive of a distribution."""
        return self._pinned(section, "egg", Pin(sdist(egg, version)))

    def commit(self, section: str, repository: str, revision: str) -> str:
        """Return the whole id of the commit that a profile names in another way, such as by a tag."""
        key = (repository, revision)
        if commit_lock.is_whole(revision):
            return revision
        if self._records:
            self._wanted_commits.setdefault(key, section)
            return commit_lock.UNKNOWN
        commits = self._read().commits
        if key not in commits:
            problem = f"[{section}] revision: {revision!r} is not a commit's whole id, and {NAME} has none for it"
            raise ProfileError(problem, f"{self._advice()}, or write the 40 digits")
        return commits[key]

    def profile(self, pin: Pin, blobs: BlobStore) -> str:
        """Return the sha256 of a profile that another one extends; to be recorded it is fetched at once."""
        if not self._records:
            return self._pinned("buildout", "extends", pin, "append '#sha256=' and its sha256")
        self._check("buildout", "extends", pin)
        self._wanted.setdefault(pin, "buildout")
        sha256 = self._read().pins.get(pin) or self._fetched.get(pin)
        if sha256 is None:
            try:
                sha256 = self._fetched[pin] = _fetched_now(pin, blobs)
            except AllotmentError as error:
                raise ProfileError(f"[buildout] extends: {pin.url}: {error.what}", "Correct the address") from error
        return sha256

    def has_profile(self, url: str) -> bool:
        """Whether the file has the sha256 of a profile behind a URL."""
        return Pin.of(url) in self._read().pins

    def record(self, blobs: BlobStore) -> Recorded:
        """Fetch what is wanted and not known yet, and write the file; what is not wanted any more is left out.

        What failed is told at the end, with all that could be had in the file.
        """
        before = self._read().pins
        known = before | self._fetched
        missing = [pin for pin in self._wanted if pin not in known]
        errors: list[str] = []
        eggs, commits = self._record_eggs(errors), self._record_commits(errors)
        found = {pin: known[pin] for pin in self._wanted if pin in known}
        with ThreadPoolExecutor(max_workers=_JOBS, thread_name_prefix="lock") as pool:
            running = {pin: pool.submit(_fetched_now, pin, blobs) for pin in missing}
        for pin, future in running.items():
            try:
                found[pin] = future.result()
            except AllotmentError as error:
                errors.append(f"[{self._wanted[pin]}] {pin.url}: {error.what}")
        if found or before or eggs or commits:
            write_bytes(self._path, text_of(Contents(found, eggs, commits)).encode())
        if errors:
            raise AllotmentError("\n".join(errors), "Correct the addresses and checksums, or add the line yourself")
        return Recorded(len(found), len(missing) + len(self._fetched), len(before.keys() - found.keys()))

    def _record_eggs(self, errors: list[str]) -> dict[tuple[str, ...], Wheels]:
        """Return the wheels of each set of eggs; what is known stays, unless ``[versions]`` says otherwise since."""
        found: dict[tuple[str, ...], Wheels] = {}
        for key, (section, versions) in self._wanted_eggs.items():
            known = self._read().eggs.get(key)
            try:
                if known is None or any(versions.get(name, version) != version for name, (version, _) in known.items()):
                    known = resolve(key, versions)
            except AllotmentError as error:
                errors.append(f"[{section}] eggs: {error.what}")
            if known is not None:
                found[key] = known
        return found

    def _record_commits(self, errors: list[str]) -> dict[tuple[str, str], str]:
        """Return the commits; what is known stays, wherever a tag has been moved to since."""
        found: dict[tuple[str, str], str] = {}
        for key, section in self._wanted_commits.items():
            try:
                found[key] = self._read().commits.get(key) or commit_lock.resolve(*key)
            except AllotmentError as error:
                errors.append(f"[{section}] revision: {error.what}")
        return found

    def _patch(self, section: str, line: str) -> str:
        """Return a line of ``patches`` with a sha256; a file of the profile's tree may have an MD5."""
        address, _, checksum = line.partition("#")
        checksum = checksum.removeprefix("md5=").lower()
        is_remote = _REMOTE.match(address) is not None
        if _SHA256.fullmatch(checksum.removeprefix("sha256=")) or (not is_remote and checksum):
            return line
        if not address or not (is_remote or self._is_given(Path(address))):
            return line
        return f"{address}#{self._sha256(section, 'patches', address, checksum)}"

    def _sha256(self, section: str, option: str, url: str, md5: str) -> str:
        if not _REMOTE.match(url):
            file = Path(url.removeprefix("file://"))
            # It is pinned with the profile's own tree, and its md5sum is checked by whoever takes it.
            return hashlib.sha256(file.read_bytes()).hexdigest() if self._is_given(file) else ""
        pin = Pin.of(url, md5)
        self._check(section, option, pin)
        return self._pinned(section, option, pin)

    def _check(self, section: str, option: str, pin: Pin) -> None:
        if pin.md5 and not _MD5.fullmatch(pin.md5):
            name = "md5sum" if option == "url" else option
            raise ProfileError(f"[{section}] {name}: {pin.md5!r} is not an md5", "Write 32 hexadecimal digits")
        if self._records and shown(pin.url) != pin.url:
            raise ProfileError(
                f"[{section}] {option}: {shown(pin.url)} is written with a name or password, which {NAME} would tell",
                "Take it out, or write the sha256 in the profile: then nothing is recorded",
            )

    def _pinned(self, section: str, option: str, pin: Pin, other: str = "add 'sha256sum = ...'") -> str:
        if self._records:
            self._wanted.setdefault(pin, section)
            return _UNKNOWN
        sha256 = self._read().pins.get(pin)
        if sha256 is None:
            beside = f", and {NAME} has none for it" + (f" with the md5 {pin.md5}" if pin.md5 else "")
            raise ProfileError(
                f"[{section}] {option}: {shown(pin.url)} has no sha256{beside}", f"{self._advice()}, or {other}"
            )
        return sha256

    def _advice(self) -> str:
        return f"Run 'allot lock {self._path.parent.name}' once and commit {NAME}"

    def _is_given(self, file: Path) -> bool:
        """Whether it is a file of the profile's tree, and none that a part makes and may make anew."""
        folder = self._closure or self._run
        return file.is_file() and (file.is_relative_to(folder) == (self._closure is not None))

    def _read(self) -> Contents:
        if self._known is None:
            data = read_limited(self._path, _SIZE_LIMIT)
            self._known = Contents() if data is None else parse(data, self._path)
        return self._known


def _fetched_now(pin: Pin, blobs: BlobStore) -> str:
    return sdist_hash(pin.url) if is_sdist(pin.url) else first_fetch(pin.url, blobs, pin.md5)
