# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path

from allotment_testfarm.testnode import scratch

CREATE_ON_A_FULL_DISK = """
import resource, sys, tempfile
from pathlib import Path
from allotment_testfarm.testnode import scratch
tempfile.gettempdir()  # which tries to write
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    scratch.create(Path(sys.argv[1]))
except OSError as error:
    sys.exit(f"errno {error.errno}")
"""


def test_temporary_folder_goes_with_the_scratch_folder(tmp_path: Path) -> None:
    made = scratch.create(tmp_path / "job")
    temporary = made.temporary
    assert temporary.stat().st_mode & 0o777 == 0o700
    (temporary / "locked").mkdir(mode=0o500)
    scratch.remove(made.folder)
    assert (temporary.exists(), made.folder.exists()) == (False, False)


def test_scratch_folder_that_can_not_be_made_leaves_no_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    words = [sys.executable, "-B", "-c", CREATE_ON_A_FULL_DISK, str(tmp_path / "job")]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "t")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "errno 27\n")
    assert list((tmp_path / "t").iterdir()) == []
