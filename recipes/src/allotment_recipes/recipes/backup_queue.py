# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.queue``: callbacks of notifications, one at a time, until the instance takes over."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.codec import dumps
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import takeover
from allotment_recipes.resilience.job import check_seconds
from allotment_recipes.scripts import program, refuse_secrets, write_script

_NAME = re.compile(r"[a-z0-9][-a-z0-9_.]*")


@dataclass(frozen=True)
class Options:
    folder: Path | None = None  # of the notifications, which stay when the section goes; default: var/ and its name
    takeover_file: Path = takeover.DEFAULT  # when it is there, nothing is taken and nothing runs any more
    timeout: float = 43200.0  # seconds after which a callback is killed
    retry: float = (
        60.0  # seconds after which a callback that failed is run again; twice as long each time, up to an hour
    )
    max_age: float = 86400.0  # seconds: the promise fails when a notification waits for longer
    services: Path = Path("etc/service")  # folder of the service
    callback: dict[str, str] = rest("callback-")  # callback-<name>: a command for /bin/sh


class Recipe(GenericBaseRecipe[Options]):
    """Run ``callback-<name>`` after ``${section:notify} <name>``, which only notes it on the disk.

    However many notifications come before a callback begins, it runs once; those that come while it runs make it run
    once more. What fails, or is cut by a crash, is run again.
    """

    def prepare(self) -> None:
        options = self.options
        if not options.callback:
            raise OptionProblem(
                "callback-*", "there is none", "Add one, such as callback-push = ${buildout:directory}/bin/push"
            )
        for name, command in options.callback.items():
            if not _NAME.fullmatch(name):
                raise OptionProblem(f"callback-{name}", f"{name!r} is not a name", "Use small letters, digits and '-'")
            refuse_secrets(self, f"callback-{name}", command)
            if not command.strip():
                raise OptionProblem(f"callback-{name}", "is empty", "Write a command")
        check_seconds(options, "timeout", "retry", "max-age")
        self.queue = self.path(options.folder or f"var/{self.name}")
        self.notify = self.path(f"bin/{self.name}-notify")
        self.publish_option("folder", self.queue)
        self.publish_option("notify", self.notify)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["folder"]]

    def install(self) -> list[Path]:
        """Write the service, the script that notifies, and the promise."""
        options = self.options
        place = ["--folder", str(self.queue), "--takeover", str(self.path(options.takeover_file))]
        serve = [*program("backup_queue"), *place, "--timeout", str(options.timeout), "--retry", str(options.retry)]
        notify = [*program("backup_notify"), *place]
        look = shlex.join([*notify, "--max-age", str(options.max_age)])
        for name, command in options.callback.items():
            serve += ["--callback", name, command]
            notify += ["--known", name]
        promise = PromiseFile("check_command_execute", {"command": look})
        return [
            write_script(self, self.path(options.services) / self.name, serve),
            write_script(self, self.notify, notify),
            self.write(f"etc/promise/{self.name}.json", dumps(promise).decode() + "\n"),
        ]
