# SPDX-License-Identifier: Apache-2.0
"""Programs that may take so long and no longer."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_for(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run a program that reads nothing, and keep what it prints; ``TimeoutExpired`` is raised on time.

    A pipe would be open as long as any process lives that a killed program has started.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        code = subprocess.run(
            words, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
            timeout=seconds, check=False,
        ).returncode  # fmt: skip
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return subprocess.CompletedProcess(words, code, *texts)
