# SPDX-License-Identifier: Apache-2.0
"""Parts that are built ahead of upstream's loop, in children, as many at a time as there are jobs.

Upstream's ``install`` goes through the parts in their order, and writes down what came of each. When it comes to the
first one all that can begin does; at each it waits until that is done, and then runs its recipe, which finds it whole.
A part whose recipe is not for that runs here in its turn, and what refers to it begins after it. So nothing that a
recipe sets or remembers in this process is lost.
"""

import contextlib
import functools
import logging
import os
import select
import signal
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from allotment_recipes.graph import events
from allotment_recipes.graph.children import Child, fork
from allotment_recipes.graph.durations import expected
from allotment_recipes.graph.failures import Failure, describe, together
from allotment_recipes.graph.jobs import cores
from allotment_recipes.graph.jobserver import PATIENCE, Holder, Jobserver, SharedJobs
from allotment_recipes.graph.processes import Adoption, memory_kills
from allotment_recipes.graph.schedule import Schedule
from allotment_recipes.shared_store import Store

JOBS: Final = ".jobs"  # in a release's folder: what tells programs of the job budget, while a build runs
LOGS: Final = ".log"  # in a release's folder: what the programs of each part printed
_logger = logging.getLogger("zc.buildout")


def location_ahead(recipe: Any) -> Path | None:
    """Return the folder of a part that is built ahead: its recipe fills it once, and its name tells its inputs."""
    location = getattr(recipe, "location", None)
    if not getattr(recipe, "builds_ahead", False) or not isinstance(location, Path):
        return None
    return location if location.parent in (*recipe.run.shared_roots, recipe.folder / "store") else None


class Ahead:
    """The parts of one build; ``call`` is upstream's way in, for each part in its turn."""

    def __init__(self, buildout: Any, jobs: int = 0, *, keep_going: bool = False) -> None:
        self._buildout = buildout
        self._run = buildout.run
        self._jobs = jobs or cores()
        self._keeps_going = keep_going
        self._children: dict[int, Child] = {}  # by pipe
        self._holders: dict[str, Holder] = {}  # of the parts in children
        self._failures: dict[str, Failure] = {}
        self._left_out: list[str] = []  # what needs a part that has failed
        self._done: set[str] = set()
        self._server: Jobserver | None = None
        self._own: Holder | None = None  # of what runs in this process
        self._adoption: Adoption | None = None
        self._memory_kills = 0
        self._has_begun = False

    @functools.cached_property
    def _locations(self) -> Mapping[str, Path]:
        """The folders of the parts that are built ahead and are not there yet; those that are there are done."""
        found: dict[str, Path] = {}
        for part in self._buildout._parts:
            place = location_ahead(self._buildout[part].recipe)
            if place is None:
                continue
            store = Store(place.parent)
            if store.holds(place) and not store.lacks_others(place):
                self._done.add(part)
            else:
                found[part] = place
        return found

    @functools.cached_property
    def _expected(self) -> Mapping[str, float]:
        found = {part: expected(place.parent, part) for part, place in self._locations.items()}
        known = {part: seconds for part, seconds in found.items() if seconds is not None}
        return known | {part: 0.0 for part in self._buildout._parts if part not in self._locations}

    @functools.cached_property
    def _schedule(self) -> Schedule:
        return Schedule(self._buildout.graph(), self._expected, frozenset(self._done))

    # Called by the driver.

    def call(self, part: str, step: Callable[[], Any]) -> Any:
        """Do upstream's step for a part, when all that it needs is there; of one that can't be built nothing is done.

        That is so only with ``keep_going``, and ``check`` raises at the end. Otherwise a failure is raised when what
        is at work has ended.
        """
        self._begin()
        if part in self._locations:
            self._wait_for(part)
        if self._is_over:
            self._raise()
        if part in self._failures or part in self._left_out:
            return []
        try:
            with contextlib.nullcontext() if part in self._done else self._token():
                found = step()
        except Exception as error:
            if not self._keeps_going and not self._children:
                events.tell(self._run, part, "failed", why=str(error))
                raise
            self._fail(part, describe(error))
            if self._keeps_going:
                return []
            self._raise()
        if part not in self._done:
            self._finish(part)
        return found

    def check(self) -> None:
        """Raise what has failed, when upstream has gone through all parts."""
        if self._failures:
            self._raise()

    @property
    def unbuilt(self) -> frozenset[str]:
        """The parts that could not be built."""
        return frozenset((*self._failures, *self._left_out))

    def close(self) -> None:
        """Kill what is still at work, and remove what told of the job budget."""
        for child in self._children.values():
            child.kill()
        if self._adoption is not None:
            if self._children:
                self._adoption.kill_strays(())
            self._adoption.close()
        self._children.clear()
        if self._server is not None:
            self._server.close()

    # The work.

    def _begin(self) -> None:
        """Make ready for children, once, if there is anything to build."""
        if self._has_begun:
            return
        self._has_begun = True
        locations = self._locations
        events.tell_all(self._run, ({"part": part, "event": "reused"} for part in sorted(self._done)))
        if not locations:
            return
        self._memory_kills = memory_kills()
        self._adoption = Adoption()
        self._server = Jobserver(self._run.folder / JOBS, self._jobs)
        self._own = self._server.holder()
        self._run.jobs = SharedJobs(self._server, self._own, lambda: self._watch(wants_token=True))
        ways = self._schedule.remaining
        waiting = ({"event": "waiting", "part": part, "path": ways[part], **self._time(part)} for part in locations)
        events.tell_all(self._run, waiting)

    def _time(self, part: str) -> dict[str, float]:
        seconds = self._expected.get(part)
        return {} if seconds is None else {"expected": seconds}

    def _wait_for(self, part: str) -> None:
        while part not in self._done and part not in self._failures and part not in self._left_out:
            if self._is_over:
                return
            self._turn()

    @property
    def _is_over(self) -> bool:
        return bool(self._failures) and not self._keeps_going

    def _raise(self) -> None:
        """Let end what is at work, and raise all that has failed."""
        while self._children:
            self._turn()
        raise together(list(self._failures.values()), self._left_out)

    def _turn(self, *, wants_token: bool = False) -> None:
        """Begin what can begin, and wait until something has happened."""
        assert self._server is not None
        if not self._children:
            self._server.top_up()
        wants_token = not self._begin_ready() or wants_token
        if not self._children and not wants_token:
            raise RuntimeError("parts wait for each other")  # the order of the profile excludes it
        self._watch(wants_token=wants_token)

    def _watch(self, *, wants_token: bool) -> None:
        """Wait until something has happened; when nothing does, look whether it still can."""
        assert self._server is not None
        watched = [*self._children, *([self._server.handle] if wants_token else [])]
        ready = select.select(watched, [], [], PATIENCE)[0]
        for handle in ready:
            if handle in self._children and not self._children[handle].receive():
                self._end(self._children.pop(handle))
        if ready:
            return
        for handle, child in list(self._children.items()):
            if child.is_gone():
                self._end(self._children.pop(handle))
        if self._server.is_at_rest:
            self._server.top_up()

    def _begin_ready(self) -> bool:
        """Begin parts as long as there are tokens; say whether none is left that could begin."""
        assert self._server is not None
        if self._is_over:
            return True
        for part in self._schedule.ready():
            if part not in self._locations:
                continue
            holder = self._server.take()
            if holder is None:
                return False
            self._fork(part, holder)
        return True

    def _fork(self, part: str, holder: Holder) -> None:
        self._schedule.begin(part)
        self._holders[part] = holder
        log = self._run.folder / LOGS / f"{urllib.parse.quote(part, safe='')}.log"
        events.tell(self._run, part, "started", **self._time(part))
        child = fork(part, log, functools.partial(self._work, part))
        self._children[child.pipe] = child

    def _work(self, part: str) -> str:
        """Build a part; in the child."""
        assert self._server is not None
        buildout = self._buildout
        buildout.ahead = None
        self._run.is_child = True
        buildout.only_reads(part)
        self._run.jobs = SharedJobs(self._server, self._holders[part])
        options = buildout[part]
        options._call(options.recipe.install)
        ended: str = self._run.ended.get(part, "")
        return ended

    def _end(self, child: Child) -> None:
        assert self._server is not None
        assert self._adoption is not None
        if child.signal and not child.is_done:
            self._adoption.kill_strays({other.pid for other in self._children.values()})
            child.failure = self._killed(child)
        self._server.put(self._holders.pop(child.part))
        self._keep_log(child)
        if child.failure is not None:
            self._fail(child.part, child.failure)
            return
        self._run.built_ahead.add(child.part)
        seconds, cpu = round(child.seconds, 2), round(child.cpu, 2)
        events.tell(self._run, child.part, child.ended or "built", seconds=seconds, cpu=cpu)
        self._finish(child.part)

    def _killed(self, child: Child) -> Failure:
        name = signal.Signals(child.signal).name
        what = f"[{child.part}] its process was killed by {name} after {child.seconds:.1f} s"
        if memory_kills() > self._memory_kills:
            return Failure(f"{what}: the machine's memory ran out", "Build with fewer --jobs", is_machine=True)
        return Failure(what, "Build again: nothing half done stays", is_machine=True)

    def _keep_log(self, child: Child) -> None:
        """Name a part's log in its error; where its programs have printed to the store's log, that is it."""
        with contextlib.suppress(FileNotFoundError):
            if child.log.stat().st_size:
                failure = child.failure
                if failure is not None and "log: " not in failure.what:
                    child.failure = replace(failure, what=f"{failure.what}\n  log: {child.log}")
                return
            child.log.unlink()
        store = getattr(self._buildout[child.part].recipe, "store", None)
        place = self._locations[child.part]
        if store is not None and store.log(place).is_file():
            with contextlib.suppress(OSError):  # as where the disk is full, which is told already
                child.log.symlink_to(os.path.relpath(store.log(place), child.log.parent))

    def _finish(self, part: str) -> None:
        self._done.add(part)
        self._schedule.finish(part)
        if self._server is not None and part not in self._locations:
            self._begin_ready()

    def _fail(self, part: str, failure: Failure) -> None:
        self._failures[part] = failure
        events.tell(self._run, part, "failed", why=str(failure.error()))
        if self._keeps_going:
            _logger.error("%s", failure.error())
        left_out = [name for name in self._schedule.fail(part) if name not in self._left_out]
        if self._keeps_going:
            self._left_out += left_out

    @contextlib.contextmanager
    def _token(self) -> Iterator[None]:
        """Have one of the jobs for what runs in this process."""
        if self._own is None:
            yield
            return
        while not self._own.take():
            self._turn(wants_token=True)
        try:
            yield
        finally:
            self._own.give()
