# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.takeover``: the script by which a standby instance takes over, and what came of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import takeover
from allotment_recipes.scripts import program, write_script


@dataclass(frozen=True)
class Options:
    import_folder: Path  # of the section with backup.import, ${import:folder}
    takeover_file: Path = takeover.DEFAULT  # what the script writes; it stays when the section goes
    main: str = ""  # name of the instance whose place is taken, ${role:main}; it stands in the file
    since: str = ""  # since when that is the main one, ${role:since}: data from before are not taken for its own


class Recipe(GenericBaseRecipe[Options]):
    """Write ``bin/<section>``, which ends imports and queue for good. Others read ``${section:is-taken-over}``.

    The script has the node process the instance. Then this is ``true``, and ``moment``, ``generation`` and
    ``predecessor`` tell when it was, with which data and in whose place. A ``publish`` section hands that to whoever
    requested the instance, such as ``backup.tree``. Nobody takes over twice.
    """

    def prepare(self) -> None:
        if self.options.since:
            try:
                time.strptime(self.options.since, takeover.MOMENT)
            except ValueError as error:
                problem = f"{self.options.since!r} is not a moment"
                raise OptionProblem("since", problem, "Write it like 2026-11-23T10:30:00Z") from error
        self.file = self.path(self.options.takeover_file)
        found = takeover.read(self.file)
        self.publish_option("takeover-file", self.file)
        self.publish_option("is-taken-over", "false" if found is None else "true")
        self.publish_option("moment", "" if found is None else found.moment)
        self.publish_option("generation", "" if found is None else found.generation)
        self.publish_option("predecessor", "" if found is None else found.predecessor)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["takeover-file"]]

    def install(self) -> list[Path]:
        """Write the script."""
        options = self.options
        words = [*program("backup_takeover"), "--partition", str(self.folder)]
        words += ["--import", str(self.path(options.import_folder)), "--takeover", str(self.file)]
        if options.main:
            words += [f"--main={options.main}"]
        if options.since:
            words += [f"--since={options.since}"]
        return [write_script(self, f"bin/{self.name}", words)]
