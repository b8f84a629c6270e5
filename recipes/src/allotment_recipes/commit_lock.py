# SPDX-License-Identifier: Apache-2.0
"""Commits that profiles in SlapOS's dialect name by a tag, by a part of their id, or as ``git describe`` does."""

import re
import tempfile
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.git_repository import Git, check_address

UNKNOWN: Final = "0" * 40  # stands for a commit while it is being recorded
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


def is_whole(revision: str) -> bool:
    """Whether it is a commit's whole id, which pins it."""
    return _COMMIT.fullmatch(revision) is not None


def resolve(repository: str, revision: str) -> str:
    """Return the whole id of a commit; its history is fetched without the files, where the server can do so."""
    check_address(repository)
    if not _NAME.fullmatch(revision) or ".." in revision:
        raise AllotmentError(f"{revision!r} is no name of a commit", "Write the 40 digits of its id")
    git = Git()
    with tempfile.TemporaryDirectory(prefix="allot-commits-") as folder:
        place = Path(folder)
        git.run(place, "init", "--quiet", "--bare")
        address = repository if ":" in repository else str(Path(repository).absolute())
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git.run(place, "fetch", "--quiet", "--filter=tree:0", "--", address, *refs)
        try:
            return git.run(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
        except AllotmentError as error:
            raise AllotmentError(f"{repository} has no commit {revision}", "Correct revision") from error
