# SPDX-License-Identifier: Apache-2.0
"""The distribution's source archive, through apt as the machine is configured; only the hash decides.

A private apt configuration, made at run time, takes the mirror from the machine's own. It needs no rights, touches
nothing of the system's, and each suite has its own lists. Only the one file that has the pinned sha256 is fetched.
"""

import fcntl
import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import write_bytes
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment_recipes.progress import Progress
from allotment_recipes.sources import MovedError, NotMine, Source

TIMEOUT: Final = 600.0  # seconds, for one call of apt
FRESH: Final = 24 * 3600.0  # seconds for which a suite's lists are taken as they are
STALE: Final = 300.0  # seconds after which lists are loaded again before a pin or a file is given up
LOOK: Final = 1.0  # seconds between two looks at how far a program of apt is
_HELPER: Final = Path("/usr/lib/apt/apt-helper")
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CONFIGURATION: Final = """\
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::Retries "2";
// apt as root would fetch as another user, who can't write here; what is fetched is checked by hash anyway
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
_logger = logging.getLogger("fetch")


@dataclass(frozen=True)
class File:
    """One file of a source package."""

    version: str  # of the package, with the distribution's revision
    place: str  # folder below the mirror
    name: str
    sha256: str
    size: int  # bytes; 0 when it is not known


def fetch(source: Source, blobs: BlobStore) -> None:
    """Find the file by its sha256 in the lists of the suite that the pin names, and let apt bring it."""
    if not source.debian:
        raise NotMine("it is not in the source archive")
    if shutil.which("apt-get") is None or not _HELPER.exists():
        raise MachineError("apt is not installed on this machine")
    folder = blobs.folder.absolute() / ".apt" / source.debian.split()[2]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(source, blobs, folder, FRESH)
    except MovedError:
        raise
    except AllotmentError:
        _fetch(source, blobs, folder, STALE)  # the mirror may have dropped a file that older lists have


def _fetch(source: Source, blobs: BlobStore, folder: Path, age: float) -> None:
    package, version, suite = source.debian.split()
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lists = _Lists(folder, suite)
        lists.load(age)
        file, problem = lists.find(package, version, source.sha256)
    with tempfile.TemporaryDirectory(prefix="allotment-apt-") as temporary:
        path = Path(temporary) / "file"
        uri = f"{lists.mirror}{file.place}/{file.name}"
        progress = Progress(source.name, file.size)
        command = (str(_HELPER), "download-file", uri, str(path), f"SHA256:{source.sha256}")
        done = lists.run(*command, look=lambda: progress.reach(path.stat().st_size if path.is_file() else 0))
        if not path.is_file():  # the exit code says less than the bytes do
            raise problem or UnreachableError(f"apt can't bring {file.name}: {reason(done)}")
        blobs.add(path, source.sha256)


class _Lists:
    """The lists of one suite in a private folder; whoever makes one holds the folder's lock."""

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        self._suite = suite
        self._stamp = folder / "loaded"
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.mirror = mirror()
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
        write_bytes(folder / "sources.list", f"deb-src {signed}{self.mirror} {suite} main\n".encode())
        write_bytes(folder / "apt.conf", _CONFIGURATION.format(folder=folder).encode())
        write_bytes(folder / "status", b"")

    def find(self, package: str, version: str, sha256: str) -> tuple[File, MovedError | None]:
        """Return the package's file with this sha256: of the pinned version, or of a later one that has it still.

        When the lists have it no more, the archive may: then the file comes with the error to raise if it has not.
        """
        files = self._files(package)
        if not any(file.sha256 == sha256 for file in files):
            self.load(STALE)
            files = self._files(package)
        for file in files:
            if file.sha256 == sha256:
                return file, None
        problem = moved(package, version, self._suite, files)
        tarballs = tarballs_of(files)
        if not tarballs:
            raise problem
        newest = tarballs[-1]
        extension = newest.name.partition(".orig.tar")[2]
        name = f"{package}_{upstream(version)}.orig.tar{extension}"
        return File(version, newest.place, name, sha256, 0), problem

    def run(self, *command: str, look: Callable[[], None] = lambda: None) -> "subprocess.CompletedProcess[str]":
        """Run a program of apt with the private configuration, which comes last and so wins."""
        words = [command[0], "-c", str(self._folder / "apt.conf"), *command[1:]]
        return _run(words, look)

    def load(self, age: float) -> None:
        """Load the lists unless they are younger than ``age`` seconds."""
        if self._stamp.exists() and time.time() - self._stamp.stat().st_mtime < age:
            return
        _logger.info("loading the source archive's lists of %s", self._suite)
        done = self.run("apt-get", "update", "-qq", "--error-on=any")
        if done.returncode != 0:
            raise UnreachableError(f"apt can't load the lists of {self._suite}: {reason(done)}")
        write_bytes(self._stamp, b"")

    def _files(self, package: str) -> list[File]:
        done = self.run("apt-cache", "showsrc", "--only-source", package)
        return [file for paragraph in done.stdout.split("\n\n") for file in files_of(paragraph)]


def mirror() -> str:
    """Return the address of the distribution's archive that this machine's apt uses, with a slash at its end."""
    template = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    done = _run(["apt-get", "indextargets", "--format", template, "Created-By: Packages"])
    rows = [line.split("|", 2) for line in dict.fromkeys(done.stdout.splitlines()) if line.count("|") >= 2]
    named = [uri for origin, label, uri in rows if origin == label == "Debian"]
    # Before the machine's first "apt-get update", apt does not know whose archive it is.
    likely = [uri for _, _, uri in rows if uri.rstrip("/").endswith("/debian")]
    for uri in (*named, *likely):
        return uri.rstrip("/") + "/"
    raise MachineError("apt of this machine knows no Debian archive")


def files_of(paragraph: str) -> Iterator[File]:
    """Yield the files that one paragraph of ``apt-cache showsrc`` lists with their sha256."""
    fields: dict[str, str] = {}
    field = ""
    for line in paragraph.splitlines():
        if line.startswith(" "):
            fields[field] = f"{fields.get(field, '')}\n{line}"
        else:
            field, _, text = line.partition(":")
            fields[field] = text.strip()
    for line in fields.get("Checksums-Sha256", "").splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdigit():
            yield File(fields.get("Version", ""), fields.get("Directory", ""), words[2], words[0], int(words[1]))


def tarballs_of(files: list[File]) -> list[File]:
    """Return the upstream archives among files of source packages, in their order."""
    return [file for file in files if ".orig.tar." in file.name and not file.name.endswith(".asc")]


def upstream(version: str) -> str:
    """Return the upstream part of a package's version ``[epoch:]upstream[-revision]``, as names of files have it."""
    plain = version.partition(":")[2] or version
    return plain.rpartition("-")[0] or plain


def moved(package: str, version: str, suite: str, files: list[File]) -> MovedError:
    """Return the error of a pin whose bytes the archive has no more, with the pin that would hold today."""
    tarballs = tarballs_of(files)
    if not tarballs:
        return MovedError(f"{suite} has no source package {package}", "Correct debian-source")
    new = tarballs[-1]
    return MovedError(
        f"the pin has moved: {suite} had {package} {version} and has {new.version} now, with another archive",
        f"To take it, check what changed, then write 'debian-source = {package} {new.version} {suite}' and "
        f"'sha256sum = {new.sha256}' ({new.name}, {new.size} bytes); "
        "to stay, put the old bytes into the source cache",
    )


def reason(done: "subprocess.CompletedProcess[str]") -> str:
    """Return apt's first error in one line."""
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    lines.sort(key=lambda line: line.startswith("W:"))
    return lines[0][2:].strip().rstrip(".") if lines else f"exit code {done.returncode}"


def _run(command: list[str], look: Callable[[], None] = lambda: None) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; ``look`` is called every ``LOOK`` seconds meanwhile."""
    deadline = time.monotonic() + TIMEOUT
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, errors="replace"
    ) as process:
        while True:
            try:
                output, errors = process.communicate(timeout=LOOK)
                return subprocess.CompletedProcess(command, process.returncode, output, errors)
            except subprocess.TimeoutExpired:
                look()
            if time.monotonic() > deadline:
                process.kill()
                raise UnreachableError(f"{Path(command[0]).name} took more than {TIMEOUT:.0f} s")
