# SPDX-License-Identifier: Apache-2.0
"""A farm's job run again at a desk: where its files come from, and what is not as it was there."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.codec import decode
from allotment.errors import AllotmentError
from allotment.messages.job import TestCase
from allotment_recipes.revision_files import unpack_revision
from allotment_testfarm.db.reproductions import Reproduction
from allotment_testfarm.farm_client import FarmClient
from allotment_testfarm.git import GitError, Mirror, clone_with
from allotment_testfarm.testnode import host
from allotment_testfarm.testnode.scratch import Scratch
from allotment_testfarm.testnode.surroundings import Surroundings

_ADDRESS = re.compile(r"(https?://[^?#]+?)/(?:api/v1/)?jobs/([1-9][0-9]{0,9})/?(?:[?#].*)?")


@dataclass(frozen=True)
class Difference:
    """Something that is not the same here as it was there; None where it is missing."""

    name: str
    there: str | None
    here: str | None


def ask(address: str) -> Reproduction:
    """Return what a farm tells of a job, by the address of the job's page or of the job in the JSON API."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise AllotmentError(
            f"{address!r} is not a job's address", "Give that of its page: http://127.0.0.1:8080/jobs/12"
        )
    with FarmClient(match[1]) as farm:
        found = decode(Reproduction, farm.get(f"jobs/{match[2]}/reproduction"), address)
    if found.outcome is None:
        raise AllotmentError(
            f"job {match[2]} has not ended on a test node: there is nothing to compare with", "Wait until it has"
        )
    return found


class Files:
    """Puts a job's revision into its scratch folder; ``repository`` says where from, for people."""

    def __init__(self, found: Reproduction, repository: str, folder: Path) -> None:
        """``repository`` is one that is named; without it the clone that one stands in is taken, else the farm's."""
        self._commit = found.job.revision
        clone = None if repository else clone_with(Path.cwd(), self._commit)
        self._mirror = Mirror(folder / "reproduced.git", repository or str(clone or found.repository))
        self.repository = self._mirror.shown

    def put(self, scratch: Scratch) -> Path:
        """Return the folder with the revision's files."""
        try:
            self._mirror.fetch_commit(self._commit)
        except GitError as error:
            raise GitError(
                error.what, f"Stand in a clone that has {self._commit[:10]}, or name a repository with --repository"
            ) from error
        archive = scratch.folder / "source.tar"
        self._mirror.archive(self._commit, archive)
        unpack_revision(archive, scratch.source, self._commit)
        return scratch.source


def environment_here() -> dict[str, str]:
    """Return what a test node on this machine would say that its jobs see of it."""
    surroundings = Surroundings()
    surroundings.measure()
    return {"platform": host.platform(), **surroundings.environment}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return what differs, by name."""
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    return tuple(Difference(name, there.get(name), here.get(name)) for name in names)


def outcomes(cases: Iterable[TestCase]) -> dict[str, str]:
    """Return the outcome of each test case by its name."""
    return {f"{case.suite} {case.name}": case.outcome.value for case in cases}
