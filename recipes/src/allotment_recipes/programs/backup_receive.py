# SPDX-License-Identifier: Apache-2.0
"""What the SSH server of a standby instance runs: it tells the status, takes a generation, or restores it.

python -m allotment_recipes.programs.backup_receive --folder FOLDER --rsync PROGRAM --takeover FILE
    --transfer-timeout SECONDS --timeout SECONDS --command TEXT... [--check TEXT]...
"""

import argparse
import sys
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.resilience import status
from allotment_recipes.resilience.commands import run_all
from allotment_recipes.resilience.generations import FILES, verify
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import (
    LOCK,
    LOG,
    RECEIVED,
    RESTORING,
    STATUS,
    asked,
    finish,
    rsync_words,
    run_rsync,
)
from allotment_recipes.resilience.status import noted
from allotment_recipes.resilience.takeover import refuse_after


def main(arguments: list[str] | None = None) -> int:
    """Do what the client asks for, if it is one of the three."""
    parser = argparse.ArgumentParser(prog="backup_receive", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rsync", required=True)
    parser.add_argument("--takeover", type=Path, required=True)
    parser.add_argument("--transfer-timeout", type=float, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--command", action="append", required=True)
    parser.add_argument("--check", action="append", default=[])
    options = parser.parse_args(arguments)
    return finish(lambda: _serve(options, asked()))


def _serve(options: argparse.Namespace, words: list[str]) -> None:
    if words == ["status"]:
        sys.stdout.write(status.dumps(status.read(options.folder / STATUS)))
        return
    receiving = rsync_words(words, RECEIVED)
    is_restore = len(words) == 2 and words[0] == "restore"
    if receiving is None and not is_restore:
        raise AllotmentError("this key can bring a generation and have it restored only", "Ask for one of them")
    with locked(options.folder / LOCK, is_inherited=True):
        refuse_after(options.takeover)
        received = options.folder / RECEIVED
        if receiving is not None:
            received.mkdir(exist_ok=True)
            run_rsync(options.rsync, receiving, received, options.folder / LOG, options.transfer_timeout)
        else:
            with locked(options.folder / RESTORING, is_inherited=True):
                refuse_after(options.takeover)  # with the lock: nobody takes over while somebody holds it
                _restore(options, received, words[1])


def _restore(options: argparse.Namespace, received: Path, name: str) -> None:
    """Restore what was received, when all of it is right; before that nothing of the instance is touched."""
    with noted(options.folder / STATUS) as whole:
        made = verify(received)
        if made.name != name:
            raise AllotmentError(f"{received} holds {made.name}, not {name}", "Push again")
        files = received / FILES
        run_all([*options.command, *options.check], files, options.timeout, {"BACKUP_FOLDER": str(files)})
        whole(made)


if __name__ == "__main__":
    sys.exit(main())
