# SPDX-License-Identifier: Apache-2.0
"""S6, of archives and profiles: bytes that were changed at random are refused with a clear error, or harm nobody.

Real archives of each packing, with files, folders, links and long names, get bytes changed, cut out, put in, doubled or
set to what means something to a reader; in the packed bytes, and in the tar before it is packed. So do the profiles of
this repository, in their text. Then an archive is unpacked and a profile is read. Lost is a run that ends with another
error than the one for people, that writes anything beside its target or leaves something of what was refused, that
makes a link out of the tree, that takes more memory than it may, or that takes longer than 20 s. The hostile archives
of the tests are tried first, whole and changed.
"""

import argparse
import bz2
import gzip
import io
import json
import lzma
import os
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hypothesis
from hypothesis import strategies as some
from tests.recipes.hostile.archives import HOSTILE

from allotment.errors import AllotmentError
from allotment_recipes.archive_limits import Rules, UnpackError
from allotment_recipes.engine import BuildEngine
from allotment_recipes.unpack import unpack
from benchmarks.measure import machine

ROOT: Final = Path(__file__).parents[1]
RUNS: Final = 20_000
QUICK_RUNS: Final = 300
PATIENCE: Final = 20  # seconds for one archive or profile
MEMORY: Final = 1 << 30  # bytes of addresses beyond those at the beginning
RULES: Final = Rules(size=64 << 20, count=20_000)
PACKINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
}  # fmt: skip
TELLING: Final = (  # what means something to one of the readers
    b"..", b"/", b"../", b"\0", b"\x80\0\0\0", b"\xff" * 12, b"L", b"x", b"g", b"S", b"1", b"2", b"5",
    b"path=", b"size=", b"GNU.sparse.", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"\xff\xff\xff\xff",
    b"${", b"}", b"<=", b"+=", b"-=", b"extends", b"[", b"]", b"\n", b" ", b":", b"!py!", b"#sha256=", b"recipe",
)  # fmt: skip

Change = tuple[str, int, bytes, int]
CHANGES: Final = some.lists(
    some.tuples(
        some.sampled_from(("set", "cut", "insert", "double", "swap")),
        some.integers(0, 1 << 20),
        some.one_of(some.sampled_from(TELLING), some.binary(min_size=1, max_size=16)),
        some.integers(1, 1024),
    ),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, changes: list[Change]) -> bytes:
    """Return bytes with the changes made; a place beyond the end is one from the beginning."""
    for kind, place, piece, length in changes:
        at = place % (len(data) + 1)
        if kind == "set":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "double":
            data = data[:at] + data[at : at + length] * 2 + data[at + length :]
        else:
            data = data[:at] + data[at + length : at + 2 * length] + data[at : at + length] + data[at + 2 * length :]
    return data


def plain_tar(kind: int) -> bytes:
    """Make a tar of some of this repository, with all that a tar may hold."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for path in sorted((ROOT / "components").rglob("*"))[:12]:
            archive.add(path, f"p-1/{path.relative_to(ROOT)}", recursive=False)
        for name, more in (
            ("p-1/" + "long/" * 40 + "name", {}),
            ("p-1/link", {"type": tarfile.SYMTYPE, "linkname": "components"}),
            ("p-1/hard", {"type": tarfile.LNKTYPE, "linkname": "p-1/" + "long/" * 40 + "name"}),
            ("p-1/pax", {"pax_headers": {"comment": "x", "mtime": "1.5"}} if kind == tarfile.PAX_FORMAT else {}),
        ):
            info = tarfile.TarInfo(name)
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info)
    return buffer.getvalue()


def plain_zip() -> bytes:
    """Make a zip of some of this repository."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((ROOT / "components").glob("*/*.cfg"))[:6]:
            archive.write(path, f"p-1/{path.parent.name}/{path.name}")
        archive.writestr("p-1/empty/", b"")
    return buffer.getvalue()


def archives() -> some.SearchStrategy[tuple[str, bytes]]:
    """Draw changed archives, each with what it was made of."""
    tars = {"pax": plain_tar(tarfile.PAX_FORMAT), "gnu": plain_tar(tarfile.GNU_FORMAT)}
    whole = {f"{form}.{name}": pack(data) for form, data in tars.items() for name, pack in PACKINGS.items()}
    whole["zip"] = plain_zip()
    whole |= {name: data for name, make in HOSTILE.items() if len(data := make()) < 100_000}

    def packed(name: str, changes: list[Change]) -> tuple[str, bytes]:
        return f"{name}, packed", changed(whole[name], changes)

    def inside(form: str, packing: str, changes: list[Change]) -> tuple[str, bytes]:
        return f"{form}.{packing}, inside", PACKINGS[packing](changed(tars[form], changes))

    return some.one_of(
        some.builds(packed, some.sampled_from(sorted(whole)), CHANGES),
        some.builds(inside, some.sampled_from(sorted(tars)), some.sampled_from(sorted(PACKINGS)), CHANGES),
    )


def profiles() -> some.SearchStrategy[tuple[str, bytes]]:
    """Draw changed profiles, each with its path in the repository."""
    found = sorted([*ROOT.glob("components/*/buildout.cfg"), *ROOT.glob("software/*/software.cfg")])
    texts = {str(path.relative_to(ROOT)): path.read_bytes() for path in found}
    return some.builds(
        lambda name, changes: (name, changed(texts[name], changes)), some.sampled_from(sorted(texts)), CHANGES
    )


class Campaign:
    """Counts runs and what was lost; a run that was lost is told with the seed of its campaign."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.runs = 0
        self.refused = 0
        self.lost: list[str] = []

    def run(self, kind: str, drawn: some.SearchStrategy[Any], number: int, look: Callable[[str, bytes], str]) -> None:
        """Look at ``number`` drawn examples; ``look`` returns what is wrong with one, or nothing."""

        @hypothesis.seed(self.seed)
        @hypothesis.settings(
            max_examples=number, database=None, deadline=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(drawn)
        def each(example: tuple[str, bytes]) -> None:
            self.one(kind, *example, look)

        each()

    def one(self, kind: str, name: str, data: bytes, look: Callable[[str, bytes], str]) -> None:
        """Look at one example, within the time that it may take."""
        self.runs += 1
        try:
            with patience():
                problem = look(name, data)
        except Exception:  # any error but those that are expected is a finding
            problem = traceback.format_exc()
        if problem:
            kept = ROOT / "var" / f"s06-{self.seed}-{self.runs}"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(data)
            self.lost.append(f"seed {self.seed}, run {self.runs}, {kind} {name}, kept as {kept}: {problem}")
            print(self.lost[-1], file=sys.stderr, flush=True)

    def unpack(self, name: str, data: bytes) -> str:
        """Unpack an archive beside a file that must stay as it is."""
        place = self.folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (self.folder / "sentinel").write_text("as it was")
        (self.folder / "archive").write_bytes(data)
        left: list[str] = []
        try:
            unpack(self.folder / "archive", place / "out", rules=RULES)
            left = ["out"]
        except UnpackError as error:
            self.refused += 1
            if len(str(error)) > 2000 or not error.fix:
                return f"the error is not for people: {str(error)[:200]}"
        if sorted(path.name for path in self.folder.iterdir()) != ["archive", "place", "sentinel"]:
            return "something is beside the target's folder"
        if (self.folder / "sentinel").read_text() != "as it was":
            return "the file beside it was changed"
        if [path.name for path in place.iterdir()] != left:
            return "something is beside the target"
        return next(reaching_out(place / "out"), "") if left else ""


def reaching_out(folder: Path) -> Iterator[str]:
    """Yield what in a tree is neither file nor folder, or leads out of it."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                if not os.path.normpath(Path(place, os.readlink(path))).startswith(str(folder)):  # noqa: PTH115
                    yield f"{path} is a link that leads out"
            elif not path.is_file() and not path.is_dir():
                yield f"{path} is a device"


@contextmanager
def patience() -> Iterator[None]:
    """Raise when what is done takes too long."""

    def end(*_: Any) -> None:
        raise TimeoutError(f"it took more than {PATIENCE} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


def reader(engine: BuildEngine, folder: Path, campaign: Campaign) -> Callable[[str, bytes], str]:
    """Return what reads a changed profile in a copy of this repository's profiles."""
    copy, log = folder / "copy", folder / "log"
    for name in ("components", "software"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True)

    def look(name: str, data: bytes) -> str:
        path = copy / name
        before = path.read_bytes()
        path.write_bytes(data)
        log.unlink(missing_ok=True)
        try:
            engine.read(path, folder / "scratch", folder / "sources", log)
        except AllotmentError as error:
            campaign.refused += 1
            if len(str(error)) > 5000:
                return "the error is too long for people"
        finally:
            path.write_bytes(before)
        text = log.read_text(errors="replace") if log.exists() else ""
        return f"a bug: {text.strip().splitlines()[-1]}" if "Traceback" in text else ""

    return look


def limit_memory() -> None:
    """Let this process have no more than ``MEMORY`` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Print one line; exit with 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s06", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object instead of a line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs")
    parser.add_argument("--runs", type=int, help=f"archives and profiles to try [default: {RUNS}]")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats what was lost")
    options = parser.parse_args()
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    began = time.monotonic()
    os.environ["ALLOTMENT_SOURCE_SERVERS"] = "off"
    with tempfile.TemporaryDirectory(prefix="s06-") as scratch, BuildEngine() as engine:
        folder = Path(scratch, "archives")
        folder.mkdir()
        campaign = Campaign(options.seed, folder)
        look = reader(engine, Path(scratch), campaign)
        campaign.run("profile", profiles(), runs // 5, look)
        limit_memory()
        for name, make in HOSTILE.items():
            if not options.quick or len(name) % 4 == 0:
                campaign.one("archive", name, make(), campaign.unpack)
        campaign.run("archive", archives(), runs - runs // 5, campaign.unpack)
    lost = len(campaign.lost)
    result = {"id": "S6", "runs": campaign.runs, "refused": campaign.refused, "lost": lost, "holds": lost == 0}
    result |= {"seed": options.seed, "seconds": round(time.monotonic() - began), "machine": machine()}
    line = f"S6 {campaign.runs} runs, {campaign.refused} refused, {lost} lost, seed {options.seed}"
    print(json.dumps(result) if options.json else line)
    return 0 if lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
