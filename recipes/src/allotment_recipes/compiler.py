# SPDX-License-Identifier: Apache-2.0
"""The compiler of this machine, by which compiled parts are known: another one writes other files."""

import contextlib
import functools
import os
import shutil
import subprocess

from allotment.errors import MachineError
from allotment_recipes.build_environment import HOST_PATH


@functools.cache
def compiler(path: str = HOST_PATH) -> str:
    """Return what compiles here, such as ``gcc 12.2.0``; empty when nothing does.

    ``path`` is where builds look for it, whatever the caller's own PATH is.
    """
    program = shutil.which("gcc", path=path)
    if program is None:
        return ""
    with open(program, "rb") as file:
        is_script = file.read(2) == b"#!"
        status = os.fstat(file.fileno())
    told = _version_of.__wrapped__ if is_script else _version_of  # what a script starts may be another one by now
    return told(program, path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


def learn_compiler() -> None:
    """Ask the compiler for its version, for processes that are forked: each looks only whether it is still the same."""
    with contextlib.suppress(MachineError):  # told to whoever needs it
        compiler()
    compiler.cache_clear()


def check_compiler(part: str, wanted: str) -> None:
    """Raise unless what compiles here is ``wanted``, the compiler that the part is known by; empty: any is."""
    if wanted and (found := compiler()) != wanted:
        raise MachineError(
            f"[{part}] is known as built with {wanted}, and here is {found or 'no compiler'}",
            f"Name a binary cache that has the part, or install {wanted}",
        )


@functools.cache
def _version_of(program: str, path: str, status: tuple[int, ...]) -> str:
    """Return what the program of this ``status`` says."""
    try:
        done = subprocess.run(
            [program, "-dumpfullversion"], capture_output=True, text=True, timeout=60, check=True, env={"PATH": path}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError(f"{program} doesn't tell its version: {error}", "Install gcc anew") from error
    return f"gcc {done.stdout.strip()}"
