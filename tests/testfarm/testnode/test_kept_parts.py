# SPDX-License-Identifier: Apache-2.0
"""Which built parts a test node keeps from job to job."""

import os
import shutil
import threading
import time
from pathlib import Path

from allotment_recipes.shared_store import Store
from allotment_recipes.store import padded_root
from allotment_recipes.stores import roots
from allotment_testfarm.testnode.kept_parts import DAY, KeptParts


def build(store: Path, name: str, days: float) -> Path:
    """Build a part, and have a job ask for it that many days ago."""
    root = padded_root(store)
    location = root / f"{name}-1-{name * 32}"
    with Store(root).building(location, "a test", lambda line: None):
        (location / "file").write_text(name)
        Store(root).note(location, {"part": name, "version": "1", "seconds": 1.0, "bytes": 1, "references": []})
    folder = store.parent / f"job-{name}"
    folder.mkdir()
    roots.enter(root, folder, [location.name], adds=False)
    os.utime(root / ".built" / f"{location.name}.json", (1, time.time() - days * DAY))
    return folder


def test_parts_stay_for_so_many_days_and_those_of_running_jobs_however_old(tmp_path: Path) -> None:
    store = tmp_path / "store"
    jobs = [build(store, name, days) for name, days in (("a", 1), ("b", 20), ("c", 20))]
    shutil.rmtree(jobs[0])
    shutil.rmtree(jobs[1])
    stopping = threading.Event()
    stopping.set()
    KeptParts(store, 14.0).keep_small(stopping)
    assert sorted(path.name[0] for path in padded_root(store).glob("[!.]*")) == ["a", "c"]
    assert KeptParts(store, 14.0).collect(0.0) >= 4096, "when the disk is short of space"
    assert sorted(path.name[0] for path in padded_root(store).glob("[!.]*")) == ["c"]


def test_without_a_store_nothing_is_done(tmp_path: Path) -> None:
    assert KeptParts(tmp_path / "store", 14.0).collect(0.0) == 0
    assert not (tmp_path / "store").exists()
