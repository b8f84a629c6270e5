# SPDX-License-Identifier: Apache-2.0
"""Every hostile archive is refused with a clear error, or unpacked to what harms nobody, in little memory and time."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.hostile.archives import HOSTILE

SIZE = 64 << 20  # bytes that an archive may hold here
COUNT = 20_000  # files that it may hold here
PEAK = 260 << 20  # bytes of memory; of which xz may have 160 MiB
HARMLESS = {  # what is unpacked, as nothing in it reaches out: the others are refused
    "chain of links without end", "folders as deep as a name goes", "gz with a tail", "links that lead to each other",
    "mode 000", "names that are no text", "names that differ by case", "names that differ by unicode's forms",
    "only zeros", "owner that is not there", "setuid and setgid", "zip: drive and slash", "zip: only its end",
    "zip: setuid", "zip: zip in a zip in a zip",
}  # fmt: skip

BY_PYTHON = {  # harmless, and refused by some only
    "header that is no record", "size in pax of no number", "size below zero of a header",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_elsewhere_and_the_machine_is_not_filled(tmp_path: Path, name: str) -> None:
    archive, place = tmp_path / "archive", tmp_path / "place"
    archive.write_bytes(HOSTILE[name]())
    place.mkdir()
    (place / "sentinel").write_text("as it was")
    (tmp_path / "sentinel").write_text("as it was")
    found = unpacked(archive, place / "out")
    assert found["peak"] < PEAK, found
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "place", "sentinel"}
    assert {path.read_text() for path in (place / "sentinel", tmp_path / "sentinel")} == {"as it was"}
    assert not Path("/tmp/hostile").exists()  # as some of them name it
    assert name in BY_PYTHON or found["outcome"] == ("unpacked" if name in HARMLESS else "refused"), found
    if found["outcome"] == "refused":
        assert sorted(path.name for path in place.iterdir()) == ["sentinel"], "nothing of it stays"
        assert len(found["text"]) < 1500
        assert found["text"].isprintable()
        assert found["text"].startswith("x ") or found["text"].startswith("x: ")
    else:
        check_tree(place / "out")


def unpacked(archive: Path, folder: Path) -> dict[str, Any]:
    command = [
        sys.executable,
        str(Path(__file__).with_name("outcome.py")),
        str(archive),
        str(folder),
        str(SIZE),
        str(COUNT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_tree(folder: Path) -> None:
    """Assert that a tree holds files, folders and links that stay inside, within the limits, and nothing else."""
    size = count = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            count += 1
            size += status.st_size
            if stat.S_ISLNK(status.st_mode):
                goal = os.path.normpath(os.path.join(place, os.readlink(path)))  # noqa: PTH115, PTH118
                assert goal.startswith(f"{folder}/") or goal == str(folder)
            else:
                assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                assert not status.st_mode & 0o7022
                assert status.st_uid == os.getuid()
    assert size <= SIZE
    assert count <= COUNT
