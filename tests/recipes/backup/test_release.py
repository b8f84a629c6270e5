# SPDX-License-Identifier: Apache-2.0
"""The type ``resilient`` of software/redis: its own tests up to takeovers, with this machine's programs."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.xdist_group("resilient"), pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[3]
# In place of what is built from source: a recipe that makes what is there.
COMPONENT = "[buildout]\n[{name}]\nrecipe = allotment.recipes:mkdirectory\nlocation = /usr\n"


@pytest.fixture
def repository() -> Iterator[Path]:
    """The release and its stack as they are here, in a short folder: unix sockets below it have room for 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        for name in ("redis", "stack"):
            ignored = shutil.ignore_patterns("__pycache__", "test_redis.py")
            shutil.copytree(ROOT / "software" / name, Path(folder) / "software" / name, ignore=ignored)
        for name in ("openssh", "redis", "rsync"):
            place = Path(folder) / "components" / name / "buildout.cfg"
            place.parent.mkdir(parents=True)
            place.write_text(COMPONENT.format(name=name))
        yield Path(folder)


@pytest.mark.usefixtures("tools")
def test_data_are_served_by_a_standby_instance_after_its_takeover(repository: Path) -> None:
    if not Path("/usr/bin/redis-server").exists():
        pytest.skip("needs redis-server")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALLOTMENT_")}
    environment["TMPDIR"] = str(repository)
    call = "import sys; from allotment.cli import main; sys.exit(main())"
    words = ["release", "test", str(repository / "software/redis"), "--folder", str(repository / "w")]
    done = subprocess.run(
        [sys.executable, "-c", call, *words], capture_output=True, text=True, timeout=390, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "a_standby_instance_takes_over_with_the_data_until_that_is_undone",
        "the_next_one_takes_over_with_data_of_the_last_one",
    ):
        assert f"test.test_resilient test_{name}" in done.stdout
