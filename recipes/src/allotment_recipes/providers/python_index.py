# SPDX-License-Identifier: Apache-2.0
"""Distributions from the Python index that the machine's pip is configured for; only the hash decides."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.sources import NotMine, Source

TIMEOUT = 300.0  # seconds
_AWAY = re.compile(r"WARNING: Retrying|ConnectionError|ConnectTimeout|ReadTimeout|IncompleteRead")  # in what pip says


def fetch(source: Source, blobs: BlobStore) -> None:
    """Let pip download the wheel of ``name==version`` that suits this interpreter; for sources ask the index."""
    if source.sdist:
        from allotment_recipes.providers import python_source

        python_source.fetch(source, blobs)
        return
    if not source.requirement:
        raise NotMine("it is no Python distribution")
    with tempfile.TemporaryDirectory(prefix="allotment-wheel-") as folder:
        _download(source.requirement, Path(folder))
        wheels = sorted(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise AllotmentError(f"pip brought {len(wheels)} wheels for {source.requirement}")
        blobs.add(wheels[0], source.sha256)


def _download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--dest", str(folder), requirement]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"pip took more than {TIMEOUT:.0f} s") from error
    if result.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR:")]
        kind = UnreachableError if _AWAY.search(result.stderr) else AllotmentError
        raise kind(f"pip: {errors[-1] if errors else f'exit code {result.returncode}'}")
