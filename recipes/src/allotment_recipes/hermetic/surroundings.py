# SPDX-License-Identifier: Apache-2.0
"""What a part's build has around it: a sandbox where the kernel gives one, and programs of the machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from allotment_recipes.hermetic import host_tools
from allotment_recipes.hermetic.root import HOST_FOLDERS
from allotment_recipes.hermetic.sandbox import Sandbox, refusal
from allotment_recipes.python_programs import base_python
from allotment_recipes.time_limits import run_for

HOST_PATH: Final = ":".join(map(str, HOST_FOLDERS))
_JOBS: Final = "ALLOTMENT_JOBS"  # variable of the jobserver: a FIFO


@dataclass(frozen=True)
class Surroundings:
    """Made by ``surround``; ``allot build --shell`` makes the sandbox again from what ``document`` gave."""

    path: str  # PATH of the machine's programs
    programs: Path  # folder with a link to each of them
    sandbox: Sandbox | None
    refusal: str  # why there is no sandbox

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], output: int, keep: Sequence[int] = ()
    ) -> int:
        """Run a program to its end, in a sandbox if there is one; both of its outputs go to ``output``."""
        box = self._seeing(environment)
        with open(os.devnull, "rb") as nothing:
            if box is not None:
                return box.run(words, folder, environment, (nothing.fileno(), output, output), keep=keep)
            return subprocess.run(
                words, cwd=folder, env=dict(environment), stdin=nothing, stdout=output, stderr=output, pass_fds=keep,
                check=False,
            ).returncode  # fmt: skip

    def run_for(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program as ``run`` does, for some time at most; keep what it prints."""
        box = self._seeing(environment)
        if box is None:
            return run_for(words, folder, environment, seconds)
        with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            files = (nothing.fileno(), output.fileno(), errors.fileno())
            try:
                code = box.run(words, folder, environment, files, timeout=seconds)
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(words, seconds) from error
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(words, code, *texts)

    def document(self, environment: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the sandbox as JSON data."""
        box = self._seeing(environment)
        if box is None:
            return None
        writable, visible = ([str(path) for path in paths] for paths in (box.writable, box.visible))
        whole = [str(path) for path in box.whole]
        return {"writable": writable, "visible": visible, "programs": str(box.programs), "whole": whole}

    def _seeing(self, environment: Mapping[str, str]) -> Sandbox | None:
        """Return the sandbox, in which all folders of the PATH and the tokens of jobs are to be seen as well."""
        if self.sandbox is None:
            return None
        named = [Path(folder) for folder in environment.get("PATH", "").split(":") if folder.startswith("/")]
        if _JOBS in environment:
            named.append(Path(environment[_JOBS]).parent)
        more = (path for path in named if path not in HOST_FOLDERS)
        return replace(self.sandbox, visible=tuple(dict.fromkeys([*self.sandbox.visible, *more])))


def surround(
    root: Path,
    tools: Iterable[str],
    writable: Iterable[Path],
    visible: Iterable[Path | None],
    *,
    runs_python: bool = False,
) -> Surroundings:
    """Prepare what a build has around it; ``tools`` are its programs of the machine beside those that all may use.

    ``root`` is the store's. A tool may have its Debian package behind a colon. One that ``runs_python`` starts the
    interpreter that runs us, and modules of ours.
    """
    tools, seen = (
        [name for tool in tools if (name := _name(tool))],
        [root, *(path for path in visible if path is not None)],
    )
    if runs_python:
        tools.append(Path(base_python()).name)
        seen += [Path(sys.base_prefix), Path(base_python()), Path(__file__).parents[1]]
    why = refusal()
    folder = host_tools.prepare(root, tools, is_confined=not why)
    if why:
        return Surroundings(str(folder), folder, None, why)
    whole = [path for name in sorted(set(tools)) if (path := host_tools.find(name)) and host_tools.is_whole(path)]
    box = Sandbox(tuple(writable), tuple(dict.fromkeys(seen)), folder, whole)
    return Surroundings(HOST_PATH, folder, box, "")


def _name(tool: str) -> str:
    """Return the name of a program; what has a path of another folder is no program of the machine."""
    path = Path(tool.partition(":")[0])
    return path.name if len(path.parts) == 1 or path.parent in HOST_FOLDERS else ""


def sandbox_of(document: Mapping[str, Any] | None) -> Sandbox | None:
    """Return the sandbox that ``Surroundings.document`` described."""
    if document is None:
        return None
    writable, visible, whole = (tuple(map(Path, document[name])) for name in ("writable", "visible", "whole"))
    return Sandbox(writable, visible, Path(document["programs"]), whole)
