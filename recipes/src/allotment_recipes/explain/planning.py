# SPDX-License-Identifier: Apache-2.0
"""The plan of a release's build: its closure is read as a build does, into a folder of its own."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment_recipes import closure as closures
from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.explain import inputs
from allotment_recipes.explain.differences import Difference, file_lines
from allotment_recipes.explain.plan import Plan, make_plan
from allotment_recipes.manifest import closure_files

TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Planned:
    """A plan, and what tells more of it as long as its files are there."""

    plan: Plan
    kept: Mapping[str, inputs.Entry]
    closure: Path  # archive of the profiles that were read
    blobs: BlobStore
    told: tuple[str, ...] = ()  # why binary caches, or what they have, are left alone

    def lines_of(self, part: str) -> Callable[[Difference], list[str]]:
        """Return what tells how a file differs from the one that a part was built with the last time."""
        entry = self.kept.get(part)
        last = entry if entry is None or entry["built"] else entry["before"]
        return lines_between(self.blobs, last, self.closure)


def lines_between(blobs: BlobStore, before: inputs.Entry | None, after: Path) -> Callable[[Difference], list[str]]:
    """Return what tells how a file of two closures differs, as far as the one before is in the source cache."""

    def lines(item: Difference) -> list[str]:
        if item.kind != "file" or before is None or before["closure"] not in blobs:
            return item.details
        return file_lines(item.name, blobs.path(before["closure"]), after)

    return lines


@contextmanager
def planned(
    profile: Path, root: Path, folder: Path, sources: Path, engine: BuildEngine,
    *, store: Path, stores: Sequence[Path] = (), caches: Sequence[Mapping[str, Any]] = (), jobs: int = 0,
) -> Iterator[Planned]:  # fmt: skip
    """Give the plan of building ``profile`` into ``folder``; nothing is built, and nothing written to the store."""
    profile, root, folder = profile.resolve(), root.resolve(), folder.resolve()
    with tempfile.TemporaryDirectory(prefix="allotment-plan-") as name:
        scratch = Path(name).resolve()
        log, archive = scratch / "log", scratch / "closure.tar"
        archive.write_bytes(closures.pack(root, closure_files(profile, engine, scratch, sources, log)))
        closures.unpack(archive, scratch / "closure")
        request = BuildRequest(
            scratch / "closure", profile.relative_to(root).as_posix(), folder, sources.resolve(), TIMEOUT,
            store=store.resolve(), stores=tuple(str(lower.resolve()) for lower in stores), caches=tuple(caches),
        )  # fmt: skip
        survey = engine.survey(request, log)
        kept = inputs.read(folder)
        plan = make_plan(survey, kept, jobs or len(os.sched_getaffinity(0)))
        told = (line for line in log.read_text(errors="replace").splitlines() if line.startswith("cache: "))
        yield Planned(plan, kept, archive, BlobStore(sources), tuple(told))


def tell_plan(
    profile: Path, root: Path, folder: Path, sources: Path, store: Path,
    *, as_json: bool, stores: Sequence[Path] = (), caches: Sequence[Mapping[str, Any]] = (), jobs: int = 0,
) -> None:  # fmt: skip
    """Print the plan of a build; called by ``allot build --plan``."""
    import click

    from allotment_recipes.explain.plan import as_data
    from allotment_recipes.explain.report import plan_lines

    with (
        BuildEngine() as engine,
        planned(profile, root, folder, sources, engine, store=store, stores=stores, caches=caches, jobs=jobs) as found,
    ):
        for line in found.told:
            click.echo(line, err=True)
        if as_json:
            click.echo(json.dumps(as_data(found.plan, found.lines_of), sort_keys=True))
        else:
            click.echo("\n".join(plan_lines(found.plan, found.lines_of)))
