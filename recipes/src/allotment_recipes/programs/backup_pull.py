# SPDX-License-Identifier: Apache-2.0
"""Fetch the last whole export of another instance as a new generation; unchanged files are hard links to the last one.

python -m allotment_recipes.programs.backup_pull --folder FOLDER --ssh SCRIPT --rsync PROGRAM --retention TEXT
    --timeout SECONDS [--after TEXT]...
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from allotment.atomic import sync_file_system
from allotment.errors import AllotmentError
from allotment_recipes.resilience import retention, status
from allotment_recipes.resilience.commands import run, run_all
from allotment_recipes.resilience.generations import Generation, clean, names_in, remove, remove_tree, verify
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import LAST, LOCK, NEW, PEER, SILENCE, STATUS, ask, finish
from allotment_recipes.resilience.status import noted


def main(arguments: list[str] | None = None) -> int:
    """Pull; what is there stays whatever goes wrong, and a transfer that was cut goes on where it ended."""
    parser = argparse.ArgumentParser(prog="backup_pull", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ssh", type=Path, required=True)
    parser.add_argument("--rsync", required=True)
    parser.add_argument("--retention", type=retention.parse, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--after", action="append", default=[])
    options = parser.parse_args(arguments)
    return finish(lambda: _pull(options))


def _pull(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    with locked(folder / LOCK, is_inherited=True), noted(folder / STATUS) as whole:
        clean(folder)
        theirs = status.parse(ask(options.ssh, ["status"], SILENCE), "the export's status")
        if not theirs.generation:
            raise status.NothingYet("there is no whole export yet", "Wait for the first one, or run it there")
        made = Generation(theirs.generation, theirs.files, theirs.bytes)
        if made.name not in names_in(folder):
            made = _fetch(options)
        whole(made)
        names = names_in(folder)
        for name in set(names) - retention.kept(names, options.retention, time.time()) - {made.name}:
            remove(folder, name)
        run_all(options.after, folder, options.timeout, {"BACKUP_FOLDER": str(folder / made.name)})


def _fetch(options: argparse.Namespace) -> Generation:
    """Return the new generation. Where sharing files with the last one made it wrong, all of it is fetched."""
    folder, new = options.folder, options.folder / NEW
    names = names_in(folder)
    last = status.read(folder / STATUS).generation
    made = None
    for shared in dict.fromkeys([last if last in names else max(names, default=""), ""]):
        _transfer(options, new, shared)
        try:
            made = verify(new)
            break
        except AllotmentError:
            remove_tree(new)
            if not shared:
                raise
    assert made is not None  # the last round raises
    sync_file_system(new)
    if made.name in names:  # the export has gone back to it
        remove_tree(new)
    else:
        new.rename(folder / made.name)
    return made


def _transfer(options: argparse.Namespace, new: Path, shared: str) -> None:
    """Bring ``new`` up to the last export. Files become read-only: several generations may hold them."""
    new.mkdir(exist_ok=True)
    words = [options.rsync, "-rtp", "--delete", "--partial", f"--timeout={SILENCE}", "--chmod=ug-s,u+r,Du+wx,Fa-w"]
    words.append("--modify-window=-1")  # two exports of one second are not the same
    words += ["-e", shlex.quote(str(options.ssh))]
    if shared:
        words.append(f"--link-dest=../{shared}")
    run([*words, f"{PEER}:{LAST}", f"{new}/"], "rsync", options.folder, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
