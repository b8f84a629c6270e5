# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.takeover``: the script by which a standby instance takes over, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import takeover
from allotment_recipes.scripts import program, write_script


@dataclass(frozen=True)
class Options:
    import_folder: Path  # of the section with backup.import, ${import:folder}
    takeover_file: Path = takeover.DEFAULT  # what the script writes; it stays when the section goes


class Recipe(GenericBaseRecipe[Options]):
    """Write ``bin/<section>``, which ends imports and queue for good. Others read ``${section:is-taken-over}``.

    At the next processing this is ``true``, and ``moment`` and ``generation`` tell when it was and with which data. A
    ``publish`` section hands that to whoever requested the instance, and who asks the master for other instances then.
    """

    def prepare(self) -> None:
        self.file = self.path(self.options.takeover_file)
        found = takeover.read(self.file)
        self.publish_option("takeover-file", self.file)
        self.publish_option("is-taken-over", "false" if found is None else "true")
        self.publish_option("moment", "" if found is None else found.moment)
        self.publish_option("generation", "" if found is None else found.generation)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["takeover-file"]]

    def install(self) -> list[Path]:
        """Write the script."""
        words = [*program("backup_takeover"), "--import", str(self.path(self.options.import_folder))]
        return [write_script(self, f"bin/{self.name}", [*words, "--takeover", str(self.file)])]
