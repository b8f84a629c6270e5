# SPDX-License-Identifier: Apache-2.0
"""Every release and every component of the newest commit, built from an empty store, and how long each part took."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError
from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.revision_files import unpack_revision
from allotment_recipes.shared_store import built_parts
from allotment_recipes.store import padded_root
from allotment_testfarm.build_log import BuildLog
from allotment_testfarm.local_farm import LocalFarm
from allotment_testfarm.verdicts import Colour

_ALL_SECONDS = 12 * 3600.0  # for all releases together; each job has a limit of its own
_COMPONENT_SECONDS = 3600.0
_INTERVAL = 0.5


class Nightly(LocalFarm):
    """One run: first the farm tests every release, then every component is built. The store is to be a new one."""

    def run(self, *, stays: bool = False) -> dict[str, Any]:
        """Build and test everything; return the summary, which is in ``summary.json`` too.

        A farm that ``stays`` goes on with the commits that come, beside the components and after them.
        """
        with self._phase("start"):
            releases = self.start()
        with self._phase("releases"):
            jobs = self._finish(releases)
        if not stays:
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
            "parts": built_parts(padded_root(self.places.store)),
        }
        write_bytes(self.folder / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
        return summary

    def start(self) -> tuple[str, ...]:
        """Start the farm; return the names of the releases that it will test."""
        releases = self.prepare()
        if not releases:
            raise AllotmentError(
                f"commit {self.revision[:7]} of {self.places.repository} holds no software release",
                "Commit a software/<name>/software.cfg",
            )
        self._step(f"releases: {', '.join(releases)}; the store is empty, sources come from {self.places.sources}")
        self.start_farm(releases)
        return releases

    def _finish(self, releases: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Wait until each release's job has ended, whatever its verdict; return the jobs."""

        def all_ended() -> bool:
            return len(self.look()) == len(releases)

        self.programs.wait("a verdict on every release", all_ended, _ALL_SECONDS, _INTERVAL)
        return self.look()

    def _build_components(self) -> dict[str, str]:
        """Build every component, also those that no release uses; return each one's error, empty when it is built."""
        archive, tree = self.folder / "revision.tar", self.folder / "revision"
        self._git("archive", "--format=tar", f"--output={archive}", self.revision)
        unpack_revision(archive, tree, self.revision)
        names = sorted(profile.parent.name for profile in tree.glob("components/*/buildout.cfg"))
        self._step(f"components: {', '.join(names)}")
        with closing(BuildEngine()) as engine:
            return {name: self._build_component(engine, tree, name) for name in names}

    def _build_component(self, engine: BuildEngine, tree: Path, name: str) -> str:
        """Build one component with what it needs, saying what comes; return the error, if there is one."""
        folder = self.folder / "components" / name
        log = folder.with_name(f"{name}.log")
        profile = f"components/{name}/buildout.cfg"
        request = BuildRequest(tree, profile, folder, self.places.sources, _COMPONENT_SECONDS, store=self.places.store)
        with BuildLog(log, lambda text: self._step(f"component {name}: {text}")).followed():
            result = engine.build(request, log)
        if not result.ok:
            self._step(f"component {name}: failed; its log is {log}: {result.error}")
        return result.error


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
