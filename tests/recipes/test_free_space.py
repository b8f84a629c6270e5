# SPDX-License-Identifier: Apache-2.0
"""A full disk: a small one is mounted for the test, where the kernel gives namespaces to users."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from allotment_recipes.free_space import FullDiskError, check_space

SCRIPT = """\
import json, os, sys
from pathlib import Path
from allotment_recipes.testing import Partition
from allotment_recipes.testing.local_engine import LocalEngine

PROFILE = '''[buildout]
parts = small large
[small]
recipe = allotment.recipes:template.jinja2
inline = {{{{ 'x' * {small} }}}}
output = small
[large]
recipe = allotment.recipes:template.jinja2
inline = {{{{ 'x' * {large} }}}}
output = large
'''
disk = Path(sys.argv[1])
partition = Partition(disk / "part0", disk.parent, LocalEngine())

def run(small, large):
    result = partition.run(PROFILE.format(small=small, large=large))
    sizes = {name: (partition.folder / name).stat().st_size for name in ("small", "large")}
    told.append([result.outcome, result.error, sizes])

told = []
run(100, 200)
run(101, 2_000_000)
filling = open(disk / "filling", "wb", buffering=0)
try:
    while True:
        filling.write(bytes(1024))
except OSError:
    pass
run(5000, 202)
filling.close()
os.unlink(disk / "filling")
run(5000, 202)
print(json.dumps(told))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_run_that_finds_no_space_changes_nothing_and_a_later_one_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=1m none {disk} && exec {sys.executable} -c "$1" {disk}'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", mount, "sh", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no namespace: {done.stderr}")
    assert done.returncode == 0, done.stderr
    first, large, full, again = json.loads(done.stdout)
    before = {"small": 100, "large": 200}
    assert first == ["done", "", before]
    assert (large[0], large[2]) == ("failed", before)
    assert large[1].startswith(f"{disk}/part0: ")
    assert large[1].endswith(" bytes are left on this disk, and 2007040 are needed. Make space: nothing was changed.")
    assert (full[0], full[2]) == ("failed", before)
    assert again == ["done", "", {"small": 5000, "large": 202}]


def test_what_fits_is_no_error_wherever_its_folder_will_be(tmp_path: Path) -> None:
    check_space([(tmp_path / "not" / "yet" / "there", 1), (Path("/dev/shm/x"), 0)])
    with pytest.raises(FullDiskError, match=f"^{tmp_path}: "):
        check_space([(tmp_path / "file", os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize + 1)])
