# SPDX-License-Identifier: Apache-2.0
"""Every release and every component of the newest commit, built from an empty store, and how long each part took."""

import functools
import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError
from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.shared_store import built_parts
from allotment_recipes.store import padded_root
from allotment_testfarm.discovery import releases_among
from allotment_testfarm.local_farm import TEST_NODES, LocalFarm
from allotment_testfarm.verdicts import Colour

_ALL_SECONDS = 12 * 3600.0  # for all releases together; each job has a limit of its own
_COMPONENT_SECONDS = 3600.0
_INTERVAL = 0.5
_JOB_SECONDS = 60.0  # until the farm has seen the commit


class Nightly(LocalFarm):
    """One run; the test nodes share one store, new, and the source cache, which stays from one run to the next."""

    def __init__(self, folder: Path, repository: Path, sources: Path, say: Callable[[str], None]) -> None:
        super().__init__(folder, repository, say)
        self.store = folder / "store"
        self._sources = sources
        self._said_parts: set[tuple[Any, ...]] = set()

    def run(self) -> dict[str, Any]:
        """Build and test everything; return the summary, which is in ``summary.json`` too."""
        with self._phase("start"):
            releases = self.start()
        with self._phase("releases"):
            jobs = self._finish(releases)
        self.programs.stop()  # the components get the whole machine
        with self._phase("components"):
            components = self._build_components()
        summary = {
            "format": 1,
            "revision": self.revision,
            "green": all(job["verdict"]["colour"] == Colour.GREEN for job in jobs.values())
            and not any(components.values()),
            "releases": list(releases),
            "verdicts": {release: job["verdict"]["name"] for release, job in jobs.items()},
            "details": {release: job["verdict"]["detail"] for release, job in jobs.items()},
            "components": components,
            "seconds": {**self._seconds, **{f"release {name}": _seconds(job) for name, job in jobs.items()}},
            "parts": built_parts(padded_root(self.store)),
        }
        write_bytes(self.folder / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
        return summary

    def start(self) -> tuple[str, ...]:
        """Start the farm; return the names of the releases that it will test."""
        self.read_head()
        names = [name for name in self._git("ls-tree", "-r", "-z", "--name-only", self.revision).split("\0") if name]
        releases = tuple(release.name for release in releases_among(names))
        if not releases:
            raise AllotmentError(
                f"commit {self.revision[:7]} of {self._repository} holds no software release",
                "Commit a software/<name>/software.cfg",
            )
        self._share_folders()
        self.start_farm()
        self._step(f"releases: {', '.join(releases)}; the store is empty, sources come from {self._sources}")
        return releases

    def _share_folders(self) -> None:
        """Give both test nodes the same store and source cache, by links in their folders."""
        for shared in (self.store, self._sources):
            shared.mkdir(parents=True, exist_ok=True)
        for name in TEST_NODES:
            (self.folder / name).mkdir()
            (self.folder / name / "store").symlink_to(self.store)
            (self.folder / name / "sources").symlink_to(self._sources)

    def _finish(self, releases: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Wait until each release's job has ended, whatever its verdict, saying what they do; return the jobs."""
        said: dict[str, set[str]] = {release: set() for release in releases}
        ended: dict[str, dict[str, Any]] = {}

        def all_ended() -> bool:
            self._say_parts()
            for release in releases:
                job = None if release in ended else self._job(release)
                if job is not None:
                    self.say_steps(job, said[release])
                    if job["state"] == "done" and job["verdict"]:
                        self._say_verdict(job)
                        ended[release] = job
            return len(ended) == len(releases)

        for release in releases:
            seen = f"a job of {release} at {self.revision[:7]}"
            self.programs.wait(seen, functools.partial(self._job, release), _JOB_SECONDS, _INTERVAL)
        self.programs.wait("a verdict on every release", all_ended, _ALL_SECONDS, _INTERVAL)
        return {release: ended[release] for release in releases}

    def _job(self, release: str) -> dict[str, Any] | None:
        try:
            return self.newest_job(release)
        except httpx2.TransportError:  # the farm starts its web tier again when that has died
            return None

    def _say_verdict(self, job: dict[str, Any]) -> None:
        verdict = job["verdict"]
        self._step(f"{job['release']}: {verdict['name']}: {verdict['detail']}")
        if verdict["colour"] != Colour.GREEN and job["attempts"]:
            self._step(f"{job['release']}: the job's log is {self.folder / 'farm' / job['attempts'][-1]['log']}")

    def _build_components(self) -> dict[str, str]:
        """Build every component, also those that no release uses; return each one's error, empty when it is built."""
        from allotment_recipes.unpack import unpack

        archive, tree = self.folder / "revision.tar", self.folder / "revision"
        self._git("archive", "--format=tar", f"--output={archive}", self.revision)
        unpack(archive, tree, strip_top_level=False)
        errors = {}
        with closing(BuildEngine()) as engine:
            for profile in sorted(tree.glob("components/*/buildout.cfg")):
                name = profile.parent.name
                errors[name] = self._build_component(engine, tree, name)
        return errors

    def _build_component(self, engine: BuildEngine, tree: Path, name: str) -> str:
        """Build one component with what it needs; return the error, if there is one."""
        folder = self.folder / "components" / name
        log = folder.with_name(f"{name}.log")
        profile = f"components/{name}/buildout.cfg"
        request = BuildRequest(tree, profile, folder, self._sources, _COMPONENT_SECONDS, store=self.store)
        result = engine.build(request, log)
        self._say_parts()
        self._step(f"component {name}: {'built' if result.ok else f'failed; its log is {log}: {result.error}'}")
        return result.error

    def _say_parts(self) -> None:
        """Say which parts have been built since the last call."""
        for part in built_parts(padded_root(self.store)):
            if tuple(part.values()) not in self._said_parts:
                self._said_parts.add(tuple(part.values()))
                self._step(f"built {part['name']} {part['version']} in {part['seconds']:.1f} s")

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._repository), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AllotmentError(f"git can't read {self._repository}: {done.stderr.strip()}")
        return done.stdout


def table(summary: dict[str, Any]) -> str:
    """Return a summary as lines for people."""
    lines = [f"{'part':<14} {'version':<12} {'seconds':>8} {'MB':>8}"]
    for part in summary["parts"]:
        megabytes = part["bytes"] / 1e6
        lines.append(f"{part['name']:<14} {part['version']:<12} {part['seconds']:>8.1f} {megabytes:>8.1f}")
    lines.append("")
    for release in summary["releases"]:
        seconds = summary["seconds"][f"release {release}"]
        lines.append(f"{release:<27} {seconds:>8.1f}   {summary['verdicts'][release]}")
    lines += [f"{name:<36}   failed" for name, error in summary["components"].items() if error]
    return "\n".join(lines)


def _seconds(job: dict[str, Any]) -> float:
    """Return how long a job took, all its attempts; 0 when it was never begun."""
    return round(job["ended"] - job["started"], 2) if job["started"] and job["ended"] else 0.0
