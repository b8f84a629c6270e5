# SPDX-License-Identifier: Apache-2.0
"""What partitions, releases and upstream's buildouts have in common: they are run, run again, and lose parts."""

import textwrap
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from allotment_recipes.testing.trees import TOLD, Tree, stamps, tree

WITHOUT = "without.cfg"  # the profile that leaves parts out


class Place(ABC):
    """A folder that a profile is run in."""

    folder: Path
    told: ClassVar[tuple[str, ...]] = TOLD  # files under hidden names that a second run must not touch either

    @property
    @abstractmethod
    def profile(self) -> Path:
        """The profile that is run."""

    @abstractmethod
    def _run(self, profile: Path) -> str:
        """Run a profile that stands beside :attr:`profile`; return what went wrong, or nothing."""

    def write_profile(self, text: str) -> Path:
        """Write the profile, which may be indented as a test is."""
        self.profile.parent.mkdir(parents=True, exist_ok=True)
        self.profile.write_text(textwrap.dedent(text))
        return self.profile

    def tree(self) -> Tree:
        """Return modes, links and contents of what is in the folder, with ``@folder@`` for its path: see ``tree``."""
        return tree(self.folder, self._places())

    def text(self, name: str) -> str:
        """Return what a file of the folder says."""
        return (self.folder / name).read_text()

    def files(self) -> dict[str, bytes]:
        """Return the bytes of every file outside ``.allotment``, by relative path."""
        found = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".allotment/")}

    def run_twice(self, profile: str | None = None) -> None:
        """Run, run again, and fail when a run failed or the second one touched anything."""
        if profile is not None:
            self.write_profile(profile)
        self._run_well(self.profile)
        before = stamps(self.folder, self.told)
        self._run_well(self.profile)
        after = stamps(self.folder, self.told)
        touched = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        assert not touched, f"the second run changed {', '.join(touched)}"

    def remove(self, *parts: str) -> list[str]:
        """Run without ``parts``, fail unless what they wrote is gone, and return the files that went, sorted.

        What a part keeps on purpose, such as data, is not among what it told buildout to remove.
        """
        installed = self.installed()
        absent = [part for part in parts if part not in installed]
        assert not absent, f"not installed: {', '.join(absent)}; installed: {', '.join(installed)}"
        before = stamps(self.folder, ())
        rest = "".join(f"  {name}\n" for name in installed if name not in parts)
        without = self.profile.with_name(WITHOUT)
        without.write_text(f"[buildout]\nextends = {self.profile.name}\nparts =\n{rest}")
        self._run_well(without)
        still = [part for part in parts if part in self.installed()]
        assert not still, f"still installed, because another part refers to it: {', '.join(still)}"
        paths = [self.folder / path for part in parts for path in installed[part]]
        left = [str(path) for path in paths if path.is_symlink() or path.exists()]
        assert not left, f"still there: {', '.join(left)}"
        return sorted(before.keys() - stamps(self.folder, ()).keys())

    def installed(self) -> dict[str, list[str]]:
        """Return what buildout knows to be installed: the paths that each part told it to remove one day."""
        import zc.buildout.configparser

        path = self.folder / ".installed.cfg"
        if not path.exists():
            return {}
        with path.open() as file:
            sections: dict[str, Any] = zc.buildout.configparser.parse(file, str(path))
        return {
            part: [path for path in sections[part].get("__buildout_installed__", "").split("\n") if path]
            for part in sections["buildout"]["parts"].split()
        }

    def _run_well(self, profile: Path) -> None:
        error = self._run(profile)
        assert not error, error

    def _places(self) -> dict[str, str]:
        """Return what else than the folder's path differs from one machine to the next, and what stands for it."""
        import sys

        return {str(self.profile.parent): "@profile@", sys.executable: "@python@", sys.prefix: "@environment@"}
