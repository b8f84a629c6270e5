# SPDX-License-Identifier: Apache-2.0
"""Reading a repository through the git command: a bare mirror in the farm's folder, never a checkout, never a hook.

Every function blocks; the engine calls them in threads. The farm tests commits: what is not committed is not seen.
"""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from allotment.errors import AllotmentError
from allotment.secret import scrub

UNFINISHED = ".new-"  # begins the name of an archive that is being written
QUICK = 60.0  # seconds that a command on the mirror may take
_TIP = "refs/farm/tip"
_LATEST = 253402300799.0  # the end of the year 9999
_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_FIXED = (
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
    "-c",
    "gc.autoDetach=false",
    "-c",
    "tar.umask=0022",
)
# An archive of a commit holds the committed bytes, whatever its own .gitattributes ask for.
_ATTRIBUTES = "* -export-ignore -export-subst -text -eol -ident -filter -working-tree-encoding\n"


class GitError(AllotmentError):
    """A repository can't be read."""


@dataclass(frozen=True)
class Commit:
    """What the farm wants to know of a commit."""

    hash: str
    tree: str
    author: str
    time: float  # UTC epoch, seconds
    subject: str


class Mirror:
    """A bare copy of one branch of a repository, in ``folder``; no two threads may call :meth:`fetch` at once."""

    def __init__(self, folder: Path, repository: str, branch: str = "", timeout: float = 600.0) -> None:
        if repository.startswith("-") or branch.startswith("-"):
            raise GitError(f"repository {repository!r}, branch {branch!r}", "Neither may begin with a dash")
        local = Path(repository)
        if local.exists():
            repository = str(local.absolute())  # git looks from the mirror, not from here
        self._folder = folder
        self._settings = folder.with_name(f"{folder.name}.gitconfig")
        self._repository = repository
        self._reference = f"refs/heads/{branch}" if branch else "HEAD"
        self._timeout = timeout  # seconds for a fetch
        self.shown = shown(repository)  # for people
        password = _split(repository).password if "://" in repository else None
        self._passwords = [password, unquote(password)] if password else []

    def fetch(self) -> Commit:
        """Bring the mirror up to date and return the branch's newest commit."""
        self._prepare()
        self._remove_old_locks()
        try:
            self._git(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--",
                self._repository,
                f"+{self._reference}:{_TIP}",
                timeout=self._timeout,
            )
        except GitError as error:
            if "find remote ref" in error.what:
                raise GitError(
                    f"{self.shown} has no {self._reference}", "Commit something, or name another --branch"
                ) from error
            raise
        return self.commit(_TIP)

    def fetch_commit(self, commit: str) -> None:
        """Get one commit's files and keep them; nothing of its history, and whatever branch it is on."""
        self._prepare()
        self._remove_old_locks()
        fetch = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1", "--")
        self._git(*fetch, self._repository, f"+{_checked(commit)}:refs/farm/kept/{commit}", timeout=self._timeout)

    def commit(self, name: str) -> Commit:
        """Return the commit that ``name`` (a hash or a reference of the mirror) stands for."""
        text = self._git("log", "-1", "--no-show-signature", "--format=%H%x00%T%x00%an%x00%ct%x00%s", name, "--")
        hash_, tree, author, time, subject = text.rstrip("\n").split("\0")
        return Commit(hash_, tree, author[:200], _seconds(time), subject[:500])

    def keep(self, commit: str) -> None:
        """Keep a commit's files even when its branch is rewritten."""
        self._git("update-ref", f"refs/farm/kept/{_checked(commit)}", commit)

    def tree(self, commit: str) -> dict[str, str]:
        """Return everything at a commit, links and submodules too: path -> mode and hash, as git writes them."""
        entries = {}
        for entry in filter(None, self._git("ls-tree", "-r", "-z", "--full-tree", _checked(commit)).split("\0")):
            described, _, path = entry.partition("\t")
            mode, _, blob = described.split(" ")
            entries[path] = f"{mode} {blob}"
        return entries

    def contents(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Return the contents of blobs by their hashes, all at once."""
        asked = "".join(f"{_checked(blob)}\n" for blob in blobs).encode()
        answer = self._run(("cat-file", "--batch"), timeout=QUICK, standard_input=asked)
        found, place = {}, 0
        for blob in blobs:
            end = answer.index(b"\n", place)
            size = int(answer[place:end].split()[2])
            found[blob] = answer[end + 1 : end + 1 + size]
            place = end + 1 + size + 1
        return found

    def archive(self, commit: str, target: Path) -> None:
        """Write a commit's files to ``target`` as an uncompressed tar: the whole file, or none."""
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                self._run(("archive", "--format=tar", _checked(commit)), stdout=file, timeout=self._timeout)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def uncommitted(self) -> int:
        """Return how many files of a local working tree differ from its commit; 0 for other repositories."""
        local = Path(self._repository)
        if not (local / ".git").exists():
            return 0
        text = self._git("-C", str(local), "--no-optional-locks", "status", "--porcelain", "-z", mirror=False)
        return sum(1 for entry in text.split("\0") if entry)

    def _prepare(self) -> None:
        if (self._folder / "HEAD").exists() and (self._folder / "info" / "attributes").exists():
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        own = Path(os.environ.get("HOME", os.devnull)) / ".gitconfig"  # credentials and proxies of who runs the farm
        # The operator has named this repository; that another user owns it is no reason to refuse it.
        self._settings.write_text(f"[include]\n\tpath = {own}\n[safe]\n\tdirectory = *\n")
        self._git("init", "--quiet", "--bare", "--template=", str(self._folder), mirror=False)
        attributes = self._folder / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(_ATTRIBUTES)

    def _remove_old_locks(self) -> None:
        """Remove what a git that was cut off left behind; nothing else writes to the mirror for so long."""
        oldest = time.time() - self._timeout - QUICK
        for lock in (*self._folder.glob("*.lock"), *(self._folder / "refs").rglob("*.lock")):
            with contextlib.suppress(FileNotFoundError):
                if lock.stat().st_mtime < oldest:
                    lock.unlink()

    def _environment(self) -> Mapping[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key == "GIT_SSH_COMMAND"
        }
        return {
            **kept,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._settings),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "LC_ALL": "C.UTF-8",
        }

    def _git(self, *arguments: str, timeout: float = QUICK, mirror: bool = True) -> str:
        return self._run(arguments, timeout=timeout, mirror=mirror).decode(errors="replace")

    def _run(
        self,
        arguments: tuple[str, ...],
        *,
        timeout: float,
        stdout: object = subprocess.PIPE,
        mirror: bool = True,
        standard_input: bytes = b"",
    ) -> bytes:
        place = (f"--git-dir={self._folder}",) if mirror else ()
        word = next((item for item in arguments if not item.startswith("-")), "")
        try:
            done = subprocess.run(
                ("git", *_FIXED, *place, *arguments),
                input=standard_input,
                stdout=stdout,  # type: ignore[call-overload]  # a file or PIPE
                stderr=subprocess.PIPE,
                env=self._environment(),
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {word} of {self.shown} took more than {timeout:.0f} s", "Look at it") from error
        except FileNotFoundError as error:
            raise GitError("the command git is not installed", "Install it") from error
        if done.returncode:
            said = " ".join(scrub(done.stderr.decode(errors="replace"), self._passwords).split())[:500].rstrip(".")
            raise GitError(f"git {word} of {self.shown}: {said}", "See that the repository can be read")
        return done.stdout or b""


def clone_with(folder: Path, commit: str) -> Path | None:
    """Return the clone that a folder is in, if it has a commit."""
    asked = (("rev-parse", "--show-toplevel"), ("cat-file", "-e", f"{_checked(commit)}^{{commit}}"))
    try:
        top, _ = (
            subprocess.run(("git", "-C", str(folder), *words), capture_output=True, check=True, timeout=QUICK)
            for words in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(os.fsdecode(top.stdout).rstrip("\n"))


def shown(repository: str) -> str:
    """Return a repository's path or URL without the password that it may hold."""
    if "://" not in repository:
        return repository
    parts = _split(repository)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}" if parts.username else host))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise GitError(f"the repository's URL can't be read: {error}", "Correct it") from error


def _seconds(text: str) -> float:
    """Return a commit's time; who commits may write any, so one that no calendar has is put at an end of it."""
    try:
        return min(float(text), _LATEST)
    except ValueError:  # git shows none that is before 1970
        return 0.0


def _checked(commit: str) -> str:
    if not _HASH.fullmatch(commit):
        raise GitError(f"{commit!r} is not a commit's full hash", "Give 40 hexadecimal digits")
    return commit
