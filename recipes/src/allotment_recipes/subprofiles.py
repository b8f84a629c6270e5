# SPDX-License-Identifier: Apache-2.0
"""A profile that a part of another one runs, within the same run: all is applied at once, or nothing is.

Files, requests, published values and waiting are those of the one run; only the list of installed parts is its own.
"""

import contextlib
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.option_error import ProfileError

_INHERITED: Final = ("eggs-directory", "eggs-directory-version", "parts-directory", "executable")


class Subprofile(Buildout):
    """One run of profiles, the later ones extending those before them, for ``section`` of the ``outer`` profile.

    It appends itself to the run, which saves its list of installed parts when all files are written.
    """

    def __init__(self, outer: Buildout, section: str, profiles: Sequence[Path]) -> None:
        self._outer = outer
        self._profiles = profiles
        settings = {name: outer["buildout"][name] for name in (*_INHERITED, "allow-picked-versions")}
        self.place: str = f"{outer.place}/{section}" if isinstance(outer, Subprofile) else section
        settings["installed"] = str(_installed_file(outer.run.folder, self.place))
        if profiles:
            settings["extends"] = "\n".join(map(str, profiles))
        else:
            settings["parts"] = ""
        with self.named():
            super().__init__(None, outer.run, settings)
        outer.run.subprofiles.append(self)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Begin the text of each error with the profile's name."""
        try:
            yield
        except AllotmentError as error:
            if not self._profiles:
                raise
            raise ProfileError(f"{self.label}: {error.what}", error.fix) from error

    @property
    def label(self) -> str:
        """What errors and waiting parts call this profile."""
        return self._profiles[-1].name

    def run_parts(self) -> None:
        """Process the parts; errors name the profile."""
        with self.named():
            super().run_parts()

    def waiting_parts(self) -> tuple[str, ...]:
        """Return what waits, after the profile's name."""
        return tuple(f"{self.label}: {text}" for text in super().waiting_parts())

    def uninstall_all(self) -> None:
        """Uninstall what is installed. The list of it goes with the files: upstream would remove it at once."""
        found, _ = self._read_installed_part_options()
        for part in reversed(found["buildout"]["parts"].split()):
            self._uninstall_part(part, found)
        self.run.journal.remove(Path(self["buildout"]["installed"]))
        self._installed = {}

    def _setup_logging(self) -> None:
        self._logger, self._log_level = self._outer._logger, self._outer._log_level


def waiting_of_subprofiles(run: RunContext) -> tuple[str, ...]:
    """Return what waits in any profile that a part has run."""
    return tuple(text for subprofile in run.subprofiles for text in subprofile.waiting_parts())


def uninstall_subprofiles(outer: Buildout) -> None:
    """Uninstall the parts of each profile whose section is gone; call it only when nothing waits."""
    folder = outer.run.folder
    run = {Path(subprofile["buildout"]["installed"]) for subprofile in outer.run.subprofiles}
    for path in sorted(folder.glob(_installed_file(folder, "*").name)):
        if path not in run:
            section = urllib.parse.unquote(path.name.removeprefix(".installed-").removesuffix(".cfg"))
            Subprofile(outer, section, ()).uninstall_all()


def _installed_file(folder: Path, section: str) -> Path:
    name = section if section == "*" else urllib.parse.quote(section, safe="")
    return Path(os.path.normpath(folder)) / f".installed-{name}.cfg"
