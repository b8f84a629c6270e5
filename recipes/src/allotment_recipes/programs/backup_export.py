# SPDX-License-Identifier: Apache-2.0
"""Make a whole copy of an instance's data: run the commands in a fresh folder, and name it when all is written.

python -m allotment_recipes.programs.backup_export --folder FOLDER --keep N --timeout SECONDS --command TEXT...
"""

import argparse
import sys
import time
from pathlib import Path

from allotment.atomic import sync_file_system
from allotment_recipes.resilience.commands import run_all
from allotment_recipes.resilience.generations import (
    FILES,
    Generation,
    clean,
    name_at,
    names_in,
    remove,
    remove_tree,
    seal,
)
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import LOCK, NEW, STATUS, finish
from allotment_recipes.resilience.status import noted


def main(arguments: list[str] | None = None) -> int:
    """Export; a failed one leaves the last whole copy as it was."""
    parser = argparse.ArgumentParser(prog="backup_export", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--command", action="append", required=True)
    options = parser.parse_args(arguments)
    return finish(lambda: _export(options.folder, options.keep, options.timeout, options.command))


def _export(folder: Path, keep: int, timeout: float, commands: list[str]) -> None:
    new = folder / NEW
    with locked(folder / LOCK, is_inherited=True), noted(folder / STATUS) as whole:
        clean(folder)
        if new.exists():  # of an export that was killed
            remove_tree(new)
        try:
            whole(_make(folder, new, timeout, commands))
        finally:
            if new.exists():  # on a full disk the status needs the room
                remove_tree(new)
        for name in names_in(folder)[:-keep]:
            remove(folder, name)


def _make(folder: Path, new: Path, timeout: float, commands: list[str]) -> Generation:
    files = new / FILES
    files.mkdir(parents=True)
    run_all(commands, files, timeout, {"BACKUP_FOLDER": str(files)})
    made = seal(new, name_at(time.time(), after=max(names_in(folder), default="")))
    sync_file_system(new)
    new.rename(folder / made.name)
    return made


if __name__ == "__main__":
    sys.exit(main())
