# SPDX-License-Identifier: Apache-2.0
"""A shell where a part was built, in the same environment and the same sandbox."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from allotment.errors import AllotmentError, nearest
from allotment_recipes.build_steps import ENVIRONMENT
from allotment_recipes.hermetic.surroundings import sandbox_of


def enter(part: str, folder: Path, say: Callable[[str], None]) -> NoReturn:
    """Become a shell in the sources of a part of the release in ``folder``."""
    note = folder / ".build" / part / ENVIRONMENT
    try:
        document = json.loads(note.read_bytes())
        os.chdir(document["folder"])
    except FileNotFoundError as error:
        left = [path.name for path in (folder / ".build").glob("*") if path.is_dir()]
        rule = "It stays when a build fails, or with 'keep-compile-dir = true' in its section"
        raise AllotmentError(
            f"no build folder of '{part}' is left in {folder}", nearest(part, left) if left else rule
        ) from error
    inherited = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    environment = {**inherited, **document["environment"], "PS1": f"{part}> "}
    say(f"{Path.cwd()}: leave with exit or Ctrl-D")
    sandbox = sandbox_of(document.get("sandbox"))
    if sandbox is None:
        os.execve("/bin/sh", ["sh"], environment)
    for number in (signal.SIGINT, signal.SIGQUIT):  # from the terminal: they are for what runs in the shell
        signal.signal(number, signal.SIG_IGN)
    os._exit(sandbox.run(["/bin/sh"], Path.cwd(), environment, (0, 1, 2), is_interactive=True) & 0xFF)
