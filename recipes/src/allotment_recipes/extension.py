# SPDX-License-Identifier: Apache-2.0
"""``[buildout] extensions = allotment.recipes``: what of our driver upstream's ``buildout`` command can have.

Upstream calls its extensions when it has read all profiles, before any part is made. The buildout becomes one of our
driver's then, reads the profiles again by our reader, and upstream's command goes on with it.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import zc.buildout.buildout as upstream

from allotment_recipes import driver, installed_parts
from allotment_recipes.aliases import DISTRIBUTION
from allotment_recipes.base import told
from allotment_recipes.context import RunContext, context_of
from allotment_recipes.installed_parts import DEVELOP_EGGS
from allotment_recipes.leftovers import Leftovers
from allotment_recipes.option_error import ProfileError
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.shared_store import Store
from allotment_recipes.source_lock import NAME as LOCK
from allotment_recipes.source_lock import SourceLock
from allotment_recipes.waiting import Waiting

_WHERE: Final = f"[buildout] extensions: {DISTRIBUTION}"
_SAID: Final = f"{DISTRIBUTION}: parts are built one after the other; 'allot build' does so in parallel, with a store"
F = TypeVar("F", bound=Callable[..., Any])


def load(buildout: Any) -> None:
    """Let the rest of a run be our driver's. Upstream calls this for whatever extension a profile names."""
    names = buildout["buildout"].get("extensions", "").split()
    if isinstance(buildout, driver.Buildout) or canonical(DISTRIBUTION) not in map(_distribution, names):
        return
    with told(upstream=True):
        profile, options, use_user_defaults = _command(buildout)
        run, level = context_of(buildout), buildout._log_level
        settings = _settings(buildout, options)
        buildout.__class__ = Buildout
        vars(buildout).clear()
        buildout.begin(profile, run, settings, options, level, use_user_defaults=use_user_defaults)
    buildout._logger.info(_SAID)


def _distribution(requirement: str) -> str:
    return canonical(re.split(r"[\[<>=!~;]", requirement)[0])


def _command(buildout: Any) -> tuple[Path, list[tuple[str, str, str]], bool]:
    """Return the profile and options of upstream's command; it keeps them nowhere but in variables of its ``main``."""
    frame = sys._getframe()
    while frame.f_code is not upstream.main.__code__:
        if frame.f_back is None:
            problem = f"{_WHERE} works in a run of the command 'buildout', and this is none"
            raise ProfileError(problem, "Run that, or 'allot build'")
        frame = frame.f_back
    given = frame.f_locals
    if upstream._isurl(given["config_file"]):
        raise ProfileError(f"{_WHERE} takes no profile behind a URL", "Write one that extends it, with #sha256=")
    folder = buildout._annotated["buildout"]["directory"].history[0].value  # as computed, whatever the profile says
    return Path(folder, Path(given["config_file"]).name), given["options"], given["use_user_defaults"]


def _settings(buildout: Any, options: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Return the options of ``[buildout]`` that no profile changes: those of the command, and what our driver sets."""
    found = {option: value for section, option, value in options if section == "buildout"}
    found |= {option: buildout._raw["buildout"][option] for option in ("newest", "offline")}
    if buildout._annotated["buildout"]["allow-picked-versions"].source == "DEFAULT_VALUE":
        found["allow-picked-versions"] = "false"
    return {**found, "directory": buildout["buildout"]["directory"]}


def _telling(step: F) -> F:
    """Let errors of a step be such as upstream's command tells without a traceback."""

    @functools.wraps(step)
    def telling(*arguments: Any, **options: Any) -> Any:
        with told(upstream=True):
            return step(*arguments, **options)

    return cast(F, telling)


class Lock(SourceLock):
    """The lock file beside a profile, in whose folder parts are made as well."""

    def __init__(self, profile: Path, run: Path) -> None:
        super().__init__(profile.parent / LOCK, run)
        self._profile = profile
        self.made: Sequence[Path] = ()  # the folders of parts

    def _advice(self) -> str:
        return f"Run 'allot lock {self._profile.name}' once and commit {LOCK}"

    def _is_given(self, file: Path) -> bool:
        return file.is_file() and not any(file.is_relative_to(folder) for folder in self.made)


class Buildout(driver.Buildout):
    """Upstream's own, from when it has loaded this extension; what has to work as without it is upstream's."""

    def begin(
        self,
        profile: Path,
        run: RunContext,
        settings: dict[str, str],
        options: Sequence[tuple[str, str, str]],
        level: int,
        *,
        use_user_defaults: bool,
    ) -> None:
        """Read the profile; ``options`` and ``use_user_defaults`` are the command's, ``level`` is of its log."""
        self._others = [option for option in options if option[0] != "buildout"]
        self._user_defaults = use_user_defaults
        self._log_level = level
        self._saved: tuple[dict[str, dict[str, str]], str] = ({}, "")
        lock = Lock(profile, run.folder)
        super().__init__(profile, run, settings, lock=lock)
        self["buildout"].get("extensions")  # read, so that it is not reported as unused
        places = ("parts-directory", "bin-directory", "eggs-directory", "develop-eggs-directory")
        lock.made = (run.folder / "store", *(Path(self["buildout"][place]) for place in places))

    def _read_profile(
        self, profile: str | None, overrides: list[tuple[str, str, str]], *, use_user_defaults: bool = False
    ) -> None:
        super()._read_profile(profile, [*overrides, *self._others], use_user_defaults=self._user_defaults)

    def _setup_logging(self) -> None:
        """Do nothing: the command has done so."""

    @_telling
    def __getitem__(self, section: str) -> Any:
        try:
            return super().__getitem__(section)
        except Waiting as waiting:
            if self._stack:
                raise
            raise ProfileError(f"[{section}] waits: {waiting}", "Let a node process the instance") from waiting

    @_telling
    def _setup_directories(self) -> None:
        upstream.Buildout._setup_directories(self)
        Store(self.run.folder / "store").sweep()
        self._leftovers = Leftovers(self.run.folder, self.run.journal)

    def _update_sys_path(self) -> None:
        upstream.Buildout._update_sys_path(self)

    @_telling
    def _compute_part_signatures(self, parts: Iterable[str]) -> None:
        super()._compute_part_signatures(parts)

    @_telling
    def _read_installed_part_options(self) -> tuple[dict[str, Any], bool]:
        if not self["buildout"]["installed"]:  # no record is kept
            self._installed, exists = upstream.Buildout._read_installed_part_options(self)
            return self._installed, exists
        found, exists = super()._read_installed_part_options()
        eggs = installed_parts.develop_eggs(Path(self["buildout"]["installed"]))
        found["buildout"][DEVELOP_EGGS] = eggs
        self._saved = dict(self._on_disk), eggs
        return found, exists

    def _save_installed_options(self, installed_options: dict[str, Any]) -> None:
        super()._save_installed_options(installed_options)
        self.save()

    def _update_installed(self, **buildout_options: str) -> None:
        super()._update_installed(**buildout_options)
        self.save()

    @_telling
    def save(self) -> None:
        """Write the record after each part, as nothing is called when upstream's command fails."""
        parts = self._parts_of(self._installed)
        eggs = self._installed["buildout"].get(DEVELOP_EGGS, "").strip()
        is_same = self._saved == (dict(parts), eggs)  # also when parts that were updated are in another order
        if self["buildout"]["installed"] and not is_same:
            self._record(parts, eggs)
            self._saved = dict(parts), eggs
        self._leftovers.forget([part for part, _ in parts])

    @_telling
    def _uninstall_part(self, part: str, installed_part_options: dict[str, Any]) -> None:
        super()._uninstall_part(part, installed_part_options)

    @_telling
    def _unload_extensions(self) -> None:
        """Remove, at the end of a run that went well, what others have left that were killed."""
        self._leftovers.clear(self.recorded())
        super()._unload_extensions()
