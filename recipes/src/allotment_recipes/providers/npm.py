# SPDX-License-Identifier: Apache-2.0
"""Packages of the npm registry that the machine's npm is configured for; only the hash decides."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment_recipes.sources import NotMine, Source

TIMEOUT = 300.0  # seconds
_AWAY = re.compile(r"\b(ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|E5\d\d|E429)\b")  # in what npm says


def fetch(source: Source, blobs: BlobStore) -> None:
    """Let npm bring the tarball of ``name@version``; no script of the package is run."""
    if not source.npm:
        raise NotMine("it is no npm package")
    with tempfile.TemporaryDirectory(prefix="allotment-npm-") as folder:
        blobs.add(pack(source.npm, Path(folder)), source.sha256)


def pack(package: str, folder: Path) -> Path:
    """Let npm bring the tarball of ``name@version`` to an empty folder; its bytes are not checked."""
    npm = shutil.which("npm")
    if npm is None:
        raise MachineError("npm is not installed on this machine")
    _pack(npm, package, folder)
    tarballs = sorted(folder.glob("*.tgz"))
    if len(tarballs) != 1:
        raise AllotmentError(f"npm brought {len(tarballs)} tarballs for {package}")
    return tarballs[0]


def _pack(npm: str, package: str, folder: Path) -> None:
    command = [npm, "pack", "--ignore-scripts", "--no-fund", "--no-audit", "--no-update-notifier"]
    command += ["--fetch-retries=1", "--loglevel=error", f"--cache={folder / 'cache'}", package]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"npm took more than {TIMEOUT:.0f} s") from error
    if result.returncode != 0:
        lines = [line.split(maxsplit=2) for line in result.stderr.splitlines() if line.startswith("npm ")]
        reasons = [words[2] for words in lines if len(words) == 3 and not words[2].startswith(("A complete log", "/"))]
        kind = UnreachableError if _AWAY.search(result.stderr) else AllotmentError
        raise kind(f"npm: {'; '.join(reasons[:3]) or f'exit code {result.returncode}'}")
