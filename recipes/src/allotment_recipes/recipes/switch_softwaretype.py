# SPDX-License-Identifier: Apache-2.0
"""Recipe ``switch-softwaretype``: run the profile of the instance's software type."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError, nearest
from allotment.messages.manifest import type_names
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe

_REFERENCE: Final = re.compile(r"([^:/\s]+):([^:/\s]+)")  # section:option, which is never a path that one would write


@dataclass(frozen=True)
class Options:
    override: str = ""  # JSON object: software type -> a profile that is read after the type's own and wins
    profiles: dict[str, str] = rest()  # <software type>: its profile, as a path or as section:option that holds one


class Recipe(GenericBaseRecipe[Options]):
    """Process the profile of this instance's software type, in the same run: all is applied at once, or nothing is.

    ``RootSoftwareInstance`` and ``default`` stand for one another where only one has a profile. A profile may be
    written by a part of this run. What it installed goes when its parts do, or this section.
    """

    def prepare(self) -> None:
        if not hasattr(self.buildout, "run_parts"):
            raise AllotmentError(
                f"[{self.name}] runs a profile within another, which only an instance's run can", "Process it by allot"
            )
        software_type = self.run.need_instance(self.name).software_type
        overrides = self._overrides()
        profiles = self.options.profiles
        names = type_names(software_type)
        found = next((name for name in names if name in profiles), None)
        if found is None:
            raise OptionProblem(
                software_type, "this instance's software type has no profile", nearest(software_type, tuple(profiles))
            )
        self.option = found
        self.profiles = [self.path(self._value(found, profiles[found]))]
        extending = next((overrides[name] for name in names if name in overrides), None)
        if extending is not None:
            self.profiles.append(self.path(self._value("override", extending)))

    def install(self) -> list[Path]:
        """Run the profile; its files are its own, so none is this part's."""
        from allotment_recipes.subprofiles import Subprofile

        for profile in self.profiles:
            if profile not in self.run.journal.paths and not profile.is_file():
                self.fail(OptionProblem(self.option, f"{profile} does not exist", "Correct the path"))
        Subprofile(self.buildout, self.name, self.profiles).run_parts()  # type: ignore[arg-type]  # see prepare
        return []

    def _value(self, option: str, text: str) -> str:
        value = text.strip()
        if reference := _REFERENCE.fullmatch(value):
            section = self.buildout[reference[1]]
            if reference[2] not in section:
                raise OptionProblem(
                    option, f"[{reference[1]}] has no option '{reference[2]}'", nearest(reference[2], tuple(section))
                )
            value = str(section[reference[2]])
        if not value:
            raise OptionProblem(option, "is empty", "Write a profile's path, or section:option")
        if len(value.split()) > 1:
            raise OptionProblem(option, f"{value!r} has white space in it", "Write one path, without any")
        return value

    def _overrides(self) -> dict[str, str]:
        try:
            found = json.loads(self.options.override or "{}")
        except (ValueError, RecursionError) as error:
            raise OptionProblem("override", f"is not JSON: {error}", "Write a JSON object") from error
        if not isinstance(found, dict) or not all(isinstance(path, str) for path in found.values()):
            raise OptionProblem("override", "is not a JSON object of paths", 'Write it like {"default": "more.cfg"}')
        return found
