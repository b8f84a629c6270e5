# SPDX-License-Identifier: Apache-2.0
"""B4: a part installed from the binary cache, below another root than it was built for.

The part is Python's own library as it is on this machine, its compiled files among it, with the store's root in some of
its files. Ours comes from ``allot cache serve`` on loopback: signature, download, sha256, unpacking, new root. The peer
has the same archive on its disk: ``sha256sum``, then ``tar --zstd -x``. ``store`` is ours with what the store does
besides: it makes all read-only, records the sum of each file and syncs the disk, which the peer does not.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allotment.messages.binary_cache import PackedPart
from allotment_recipes.binary_cache import client, push
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.context import RunContext
from allotment_recipes.journal import Journal
from allotment_recipes.shared_store import Store, remove
from allotment_recipes.signing import SigningKey, load_or_create_key
from allotment_recipes.store import padded_root
from allotment_recipes.tokens import Tokens
from benchmarks.measure import Result, Sample, alternately, command, inside, main, mean_cpu, median

GOAL = 1.3
DIGEST = "0123456789abcdef" * 4
PART = f"library-1-{DIGEST[:32]}"
LEFT_OUT = ("site-packages", "dist-packages", "test", "tests", "idlelib")


def write_part(root: Path, quick: bool) -> None:
    """Write the part into a store, and the note of how it was built."""
    library = Path(sysconfig.get_path("stdlib"))
    source = library / "encodings" if quick else library
    shutil.copytree(source, root / PART / "lib", ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    bin_folder = root / PART / "bin"
    bin_folder.mkdir()
    shutil.copy(os.path.realpath(sys.executable), bin_folder / "python")
    for number in range(20 if quick else 100):
        (bin_folder / f"script{number}").write_text(f"#!{root}/{PART}/bin/python\nprint({number})\n")
    (root / ".built").mkdir()
    note = {"part": "library", "version": "1", "hash": DIGEST, "seconds": 1.0, "references": []}
    (root / ".built" / f"{PART}.json").write_text(json.dumps(note))


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve a cache; give its URL and its token."""
    arguments = [sys.executable, "-m", "allotment", "cache", "serve", "--folder", str(folder)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder.parent / "config")}
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not (folder / "cache.json").exists():
                if time.monotonic() > deadline:
                    raise RuntimeError("the cache does not start")
                time.sleep(0.05)
            url = json.loads((folder / "cache.json").read_bytes())["url"]
            yield url, (folder / "token").read_text().strip()
        finally:
            process.terminate()


class Installing:
    """Installs the part again and again, each time into an empty store."""

    def __init__(self, place: Path, url: str, key: SigningKey) -> None:
        self._root = padded_root(place / "a-store-with-another-path")
        self._root.mkdir(parents=True)
        caches = ({"url": url, "keys": [key.public]},)
        self._run = RunContext(place, Journal(immediate=True), place / "sources", Tokens(b""), caches=caches)
        self.location = self._root / PART

    def fetch(self) -> None:
        """Fetch the part alone."""
        self.location.mkdir()
        if client.fetch_part(self._run, DIGEST, self.location, self.location) is None:
            raise RuntimeError("the part was not fetched")

    def install(self) -> None:
        """Install it as a build does."""
        store = Store(self._root)
        with store.building(self.location, "B4", lambda line: None):
            note = client.fetch_part(self._run, DIGEST, self.location, self.location.resolve())
            if note is None:
                raise RuntimeError("the part was not fetched")
            store.note(self.location, note)

    def clear(self) -> None:
        remove(self.location)


def after(clear: Callable[[], object], run: Callable[[], Sample]) -> Callable[[], Sample]:
    """Return a run before which something is cleared away, which takes no time of it."""

    def both() -> Sample:
        clear()
        return run()

    return both


def measure(quick: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="b04-") as name:
        place = Path(name).resolve()
        root = padded_root(place / "store")
        root.mkdir(parents=True)
        write_part(root, quick)
        key = load_or_create_key(place / "config/allotment/cache.key")
        with served(place / "served") as (url, token):
            (pushed,) = push.push(open_cache(url, token), root, [PART], key, lambda result: None, 1)
            samples, packed = measure_all(place, url, key, 4 if quick else 9)
        remove(root)
    medians = {name: median(item) for name, item in samples.items()}
    ratio = medians["ours"].wall / medians["peer"].wall
    return Result(
        id="B4",
        what=f"{packed.count} files, {packed.size / 1e6:.0f} MB, from the binary cache",
        ours=round(medians["ours"].wall, 4),
        peer=round(medians["peer"].wall, 4),
        unit="s",
        goal=f"<= {GOAL} x of sha256sum and tar",
        holds=ratio <= GOAL,
        details={
            "times_peer": round(ratio, 2),
            "cpu": round(mean_cpu(samples["ours"]), 3),
            "peer_cpu": round(mean_cpu(samples["peer"]), 3),
            "store": round(medians["store"].wall, 4),
            "archive": pushed.bytes,
            "peer_note": "sha256sum and tar --zstd -x of the same archive, which is on the disk already",
        },
    )


def measure_all(place: Path, url: str, key: SigningKey, rounds: int) -> tuple[dict[str, list[Sample]], PackedPart]:
    (data,) = open_cache(url).entries([PART]).values()
    packed: Any = client.entry.read(data, PART).packed
    archive, target = place / "archive.tar.zst", place / "unpacked"
    archive.write_bytes(b"".join(open_cache(url).read(packed.archive.sha256)))
    ours = Installing(place, url, key)

    def empty() -> None:
        remove(target)
        target.mkdir()

    script = f"sha256sum {archive} && tar --zstd -xf {archive} -C {target}"
    runs = {
        "ours": after(ours.clear, inside(ours.fetch)),
        "peer": after(empty, command(["/bin/sh", "-c", script])),
        "store": after(ours.clear, inside(ours.install)),
    }
    samples = alternately(runs, rounds)
    if len(list(target.rglob("*"))) != packed.count + 1:  # the table of offsets
        raise RuntimeError("the two sides have not the same files")
    ours.clear()
    return samples, packed


if __name__ == "__main__":
    sys.exit(main(measure))
