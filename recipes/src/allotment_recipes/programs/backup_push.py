# SPDX-License-Identifier: Apache-2.0
"""Bring the newest generation to the standby instance and let it restore, unless it has done so already.

python -m allotment_recipes.programs.backup_push --generations FOLDER --status FILE --ssh SCRIPT --rsync PROGRAM
    --timeout SECONDS
"""

import argparse
import shlex
import sys
from pathlib import Path

from allotment_recipes.resilience import status
from allotment_recipes.resilience.commands import run
from allotment_recipes.resilience.generations import Generation, held
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import LOCK, PEER, RECEIVED, SILENCE, STATUS, ask, finish
from allotment_recipes.resilience.status import noted


def main(arguments: list[str] | None = None) -> int:
    """Push; one that was cut, here or there, is repeated by the next."""
    parser = argparse.ArgumentParser(prog="backup_push", allow_abbrev=False)
    parser.add_argument("--generations", type=Path, required=True)
    parser.add_argument("--status", type=Path, required=True)
    parser.add_argument("--ssh", type=Path, required=True)
    parser.add_argument("--rsync", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    options = parser.parse_args(arguments)
    return finish(lambda: _push(options))


def _push(options: argparse.Namespace) -> None:
    with locked(options.status.parent / LOCK, is_inherited=True), noted(options.status) as whole:
        pulled = status.Status()

        def last_pulled() -> str:
            nonlocal pulled
            pulled = status.read(options.generations / STATUS)
            if not pulled.generation:
                raise status.NothingYet(
                    f"{options.generations} holds no whole generation yet", "Wait for the first pull"
                )
            return pulled.generation

        with held(options.generations, last_pulled) as newest:  # retention leaves it alone
            theirs = status.parse(ask(options.ssh, ["status"], SILENCE), "the standby's status")
            if (theirs.result, theirs.generation) != (status.DONE, pulled.generation):
                words = [options.rsync, "-rtp", "--delete", "--partial", f"--timeout={SILENCE}"]
                words += ["-e", shlex.quote(str(options.ssh)), f"{newest}/", f"{PEER}:{RECEIVED}"]
                run(words, "rsync", options.generations, options.timeout)
                sys.stdout.write(ask(options.ssh, ["restore", pulled.generation], options.timeout))
        whole(Generation(pulled.generation, pulled.files, pulled.bytes))


if __name__ == "__main__":
    sys.exit(main())
