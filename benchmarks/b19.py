# SPDX-License-Identifier: Apache-2.0
"""B19: deciding what a revision must rebuild, in a repository of 435 components and 80 releases.

From a commit in the farm's mirror to the releases whose inputs nobody has proved yet: git's tree is listed, profiles
are followed from each release, and the hash of all that it can read is looked for among those of earlier revisions.
Cold is a farm that has just been started; then one file after the other is changed, and what must be rebuilt is
compared with what the generator knows to need that file. No peer decides: slapos.core and Buildbot rebuild all.
``profile`` is the median over changes of profiles, ``other`` over those of files beside them.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from allotment.codec import canonical
from allotment_testfarm.db import inputs
from allotment_testfarm.discovery import Discovery
from allotment_testfarm.git import Mirror
from benchmarks.measure import Result, main

COMPONENTS, RELEASES = 435, 80
GOAL_COLD, GOAL_ONE = 1.0, 0.05  # seconds
_SEED = 20261123


class Repository:
    """A repository that is drawn from one seed: components that extend earlier ones, releases that extend some."""

    def __init__(self, folder: Path) -> None:
        draw = random.Random(_SEED)
        self.folder = folder
        self.needs: dict[str, set[str]] = {}  # component -> itself and all that it extends
        self.releases: dict[str, set[str]] = {}  # release -> all components behind it
        names = [f"component{number:03d}" for number in range(COMPONENTS)]
        for number, name in enumerate(names):
            parents = draw.sample(names[:number], min(number, draw.choice((0, 0, 1, 1, 2, 3, 5))))
            self.needs[name] = {name}.union(*(self.needs[parent] for parent in parents))
            self._write(f"components/{name}/buildout.cfg", _component(name, parents))
            for patch in range(draw.choice((0, 0, 1, 2, 4))):
                self._write(f"components/{name}/fix-{patch}.patch", f"--- a\n+++ b\n{name} {patch}\n" * 20)
        for number in range(RELEASES):
            release, used = f"release{number:02d}", draw.sample(names, draw.randint(4, 30))
            self.releases[release] = set().union(*(self.needs[name] for name in used))
            self._write(f"software/{release}/software.cfg", _release(used))
            for name in (
                "software.cfg.json",
                "instance.cfg.in",
                "parameters.json",
                "published.json",
                "test/test_it.py",
            ):
                self._write(f"software/{release}/{name}", f"{release} {name}\n" * 40)
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def change(self, component: str, name: str) -> set[str]:
        """Change and commit one file of a component; return the releases that read it."""
        with (self.folder / "components" / component / name).open("a") as file:
            file.write(f"# {time.monotonic_ns()}\n")
        self.commit()
        return {release for release, behind in self.releases.items() if component in behind}

    def commit(self) -> None:
        self._git("add", "--all")
        self._git("-c", "user.name=b19", "-c", "user.email=b19@localhost", "commit", "--quiet", "--message=change")

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.folder), *words], check=True, stdout=subprocess.DEVNULL)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _component(name: str, parents: list[str]) -> str:
    extends = "".join(f"  ../{parent}/buildout.cfg\n" for parent in parents)
    options = "".join(f"  --with-{parent}=${{{parent}:location}}\n" for parent in parents)
    return (
        f"[buildout]\nextends =\n{extends}parts = {name}\n\n"
        f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1.2.3\n"
        f"url = https://example.org/{name}-1.2.3.tar.gz\nsha256sum = {'0' * 64}\nconfigure-options =\n{options}"
        f"patches = ${{:_profile_base_location_}}/fix-0.patch#{'0' * 64}\n"
    )


def _release(used: list[str]) -> str:
    extends = "".join(f"  ../../components/{name}/buildout.cfg\n" for name in used)
    return (
        f"[buildout]\nextends =\n{extends}parts = instance-profile\n\n[instance-profile]\n"
        "recipe = allotment.recipes:template.jinja2\nurl = ${:_profile_base_location_}/instance.cfg.in\n"
        "output = ${buildout:directory}/instance.cfg\n"
    )


class Farm:
    """What the engine knows: the mirror, what the profiles of the last commit say, and which inputs were proved."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._mirror = Mirror(folder, str(repository.folder))
        self._discovery = Discovery(self._mirror)
        self._proved: dict[str, bytes] = {}

    def fetch(self) -> str:
        return self._mirror.fetch().hash

    def decide(self, commit: str) -> set[str]:
        """Return the releases that must be built again."""
        found: Mapping[str, bytes] = {
            release.name: canonical(inputs.files(release.files, release.options))
            for release in self._discovery.find(commit)
            if release.files is not None
        }
        changed = {name for name, document in found.items() if self._proved.get(name) != document}
        self._proved = dict(found)
        return changed


def measure(quick: bool) -> Result:
    rounds = 5 if quick else 30
    draw = random.Random(_SEED)
    with tempfile.TemporaryDirectory(prefix="b19-") as name:
        repository = Repository(Path(name) / "repository")
        cold, profiles, others, rebuilt = [], [], [], []
        for number in range(3 if quick else 10):
            farm = Farm(repository, Path(name) / f"mirror{number}")
            commit = farm.fetch()
            started = time.perf_counter()
            found = farm.decide(commit)
            cold.append(time.perf_counter() - started)
            _check(found, set(repository.releases))
        for number in range(2 * rounds):
            component = draw.choice(sorted(set().union(*repository.releases.values())))
            is_profile = number % 2 == 0
            expected = repository.change(component, "buildout.cfg" if is_profile else "notes.txt")
            commit = farm.fetch()
            started = time.perf_counter()
            found = farm.decide(commit)
            (profiles if is_profile else others).append(time.perf_counter() - started)
            _check(found, expected)
            rebuilt.append(len(found))
        files = sum(1 for path in repository.folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    figures = {
        "cold": statistics.median(cold),
        "profile": statistics.median(profiles),
        "other": statistics.median(others),
    }
    one = max(figures["profile"], figures["other"])
    return Result(
        id="B19",
        what=f"what to rebuild of {RELEASES} releases, {COMPONENTS} components",
        ours=round(one, 4),
        peer=None,
        unit="s",
        goal="<= 1 s cold, <= 50 ms for one file",
        holds=figures["cold"] <= GOAL_COLD and one <= GOAL_ONE,
        details={
            **{key: round(value, 4) for key, value in figures.items()},
            "files": files,
            "rebuilt": statistics.median(rebuilt),
            "rebuilt_by_peers": RELEASES,
        },
    )


def _check(found: set[str], expected: set[str]) -> None:
    if found != expected:
        raise RuntimeError(f"{sorted(found ^ expected)} are decided wrongly")


if __name__ == "__main__":
    sys.exit(main(measure))
