# SPDX-License-Identifier: Apache-2.0
"""What the SSH server of an exporting instance runs: it tells the status, or sends the last whole copy.

python -m allotment_recipes.programs.backup_send --folder FOLDER --rsync PROGRAM --transfer-timeout SECONDS
"""

import argparse
import sys
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.resilience import status
from allotment_recipes.resilience.generations import held, names_in
from allotment_recipes.resilience.program import LAST, LOG, STATUS, asked, finish, rsync_words, run_rsync


def main(arguments: list[str] | None = None) -> int:
    """Do what the client asks for, if it is one of the two."""
    parser = argparse.ArgumentParser(prog="backup_send", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rsync", required=True)
    parser.add_argument("--transfer-timeout", type=float, required=True)
    options = parser.parse_args(arguments)
    return finish(lambda: _serve(options.folder, options.rsync, options.transfer_timeout, asked()))


def _serve(folder: Path, rsync: str, seconds: float, words: list[str]) -> None:
    if words == ["status"]:
        sys.stdout.write(status.dumps(status.read(folder / STATUS)))
        return
    sending = rsync_words(words, LAST)
    if sending is None:
        raise AllotmentError("this key can read the status and the last export only", "Ask for one of them")
    with held(folder, lambda: _newest(folder)) as copy:
        run_rsync(rsync, sending, copy, folder / LOG, seconds)


def _newest(folder: Path) -> str:
    names = names_in(folder)
    if not names:
        raise AllotmentError("there is no whole export yet", "Wait for the first one")
    return names[-1]


if __name__ == "__main__":
    sys.exit(main())
