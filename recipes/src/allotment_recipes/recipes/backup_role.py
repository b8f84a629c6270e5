# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.role``: what an instance of a resilient tree is now, and which parts that needs."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.codec import dumps
from allotment.errors import nearest
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import takeover
from allotment_recipes.resilience.succession import MAIN, STANDBY, SUPERSEDED
from allotment_recipes.values import json_object

_NAME: Final = re.compile(r"[a-z][-a-z0-9]*")
_OWN: Final = ("recipe", "given", "takeover-file", "parts")


@dataclass(frozen=True)
class Options:
    given: str  # what backup.tree gives, ${slap-configuration:configuration.resilience}
    takeover_file: Path = takeover.DEFAULT  # of the section with backup.takeover
    parts: dict[str, str] = rest("parts-")  # parts-<role>: names of sections that an instance in this role needs


class Recipe(GenericBaseRecipe[Options]):
    """Read the role. ``parts = ${section:parts}`` in ``[buildout]`` names this section and those of ``parts-<role>``.

    Instances that hold the data are ``main``, ``standby`` or ``superseded``, backup instances ``waiting``, ``pull`` or
    ``pull-and-push``. Others read ``role``, what else is given by its name, such as ``main`` and ``since``, and
    ``is-taken-over``, ``moment``, ``generation`` and ``predecessor`` of a takeover. Who has taken over is a main
    instance before the tree knows. One whose place was taken has a promise that is never kept and says who did.
    """

    def prepare(self) -> None:
        given = json_object("given", self.options.given)
        for name, value in given.items():
            if not isinstance(value, str) or not _NAME.fullmatch(name) or name.startswith(_OWN):
                raise OptionProblem("given", f"'{name}' is not what backup.tree gives", "Pass on what it gives")
        self.given = {"main": "", "since": "", "backup-keys": "", **given}
        found = takeover.read(self.path(self.options.takeover_file))
        role = self.given.get("role", "")
        if role == STANDBY and found is not None:
            role = MAIN
        if role not in self.options.parts:
            fix = nearest(role, tuple(self.options.parts))
            raise OptionProblem(f"parts-{role}", "is missing for the role that is given", fix)
        self.role = role
        told = found or takeover.Takeover("", "")
        about = {"is-taken-over": "false" if found is None else "true", "moment": told.moment}
        about |= {"generation": told.generation, "predecessor": told.predecessor}
        parts = " ".join((self.name, *self.options.parts[role].split()))
        for option, value in {**self.given, **about, "role": role, "parts": parts}.items():
            self.publish_option(option, value)

    def install(self) -> list[Path]:
        """Write the promise of one whose place was taken."""
        if self.role != SUPERSEDED:
            return []
        who, when = self.given["main"], self.given["since"]
        text = f"{who} has taken over at {when}: this instance does nothing; dismiss it, or undo the takeover"
        command = shlex.join(["/bin/sh", "-c", 'echo "$1"; exit 1', "sh", text])
        promise = PromiseFile("check_command_execute", {"command": command})
        return [self.write(f"etc/promise/{self.name}.json", dumps(promise).decode() + "\n")]
