# SPDX-License-Identifier: Apache-2.0
"""The machine's git, run so that a repository can neither run code of its own here nor ask anybody anything."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment.options import OptionProblem
from allotment_recipes.providers.url import shown
from allotment_recipes.time_limits import run_for

REMOTE: Final = "git:http:https:ssh"  # protocols; not ext, which is a command
_PROTOCOLS: Final = f"file:{REMOTE}"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@-]*")  # of branches
_AWAY: Final = re.compile(
    r"Could not (resolve|read from remote)|unable to access|Connection|timed out|early EOF|hung up", re.IGNORECASE
)
_SETTINGS: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.attributesFile": "/dev/null",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "init.defaultBranch": "none",
    "init.templateDir": "",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "fetch.fsckObjects": "true",
    "transfer.credentialsInUrl": "die",
}


class GitError(AllotmentError):
    """git refuses; its own words are in the error."""


@dataclass(frozen=True)
class Git:
    """One program of git and a limit of time for each of its commands."""

    program: str = "git"
    timeout: float = 600.0  # seconds
    settings: Mapping[str, str] = field(default_factory=dict)
    protocols: str = _PROTOCOLS  # that are spoken, with colons between

    def run(self, folder: Path, *arguments: str) -> str:
        """Run a command in ``folder`` and return what it prints; what it says of a failure is the error."""
        try:
            done = run_for([self.program, *arguments], folder, self._environment(), self.timeout)
        except FileNotFoundError as error:
            raise MachineError(f"{self.program} is not installed on this machine", "apt-get install git") from error
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"git {arguments[0]} took more than {self.timeout:.0f} s", "Try again") from error
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
            text = shown("; ".join(lines[:3] or done.stderr.splitlines()[-1:]) or f"exit code {done.returncode}")
            kind = UnreachableError if _AWAY.search(done.stderr) else GitError
            raise kind(f"git {arguments[0]}: {text}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Return the caller's environment without what points git elsewhere; settings are not in the command line."""
        found = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        settings = {**_SETTINGS, **self.settings}
        for number, (key, value) in enumerate(settings.items()):
            found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return found | {
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_ALLOW_PROTOCOL": self.protocols,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "LC_ALL": "C",
        }


def check_address(address: str) -> None:
    """Raise when a repository's address is none that git may be given, or holds a password."""
    scheme, colon, rest = address.partition("://")
    if colon and scheme in ("http", "https") and "@" in rest.partition("/")[0]:
        raise OptionProblem(
            "repository", f"{shown(address)} holds a name or password", "Give it to git's credential helper instead"
        )
    known = scheme in _PROTOCOLS.split(":") if colon else "::" not in address
    if not known or not address or address.startswith("-") or any(ord(letter) < 33 for letter in address if colon):
        raise OptionProblem(
            "repository",
            f"{shown(address)!r} is no address of a repository",
            "Write https, ssh, git or file, or a path",
        )


def check_branch(branch: str) -> None:
    """Raise when a text can't be a branch's name."""
    if not _PLAIN.fullmatch(branch) or ".." in branch or branch.endswith((".lock", "/", ".")):
        raise OptionProblem("branch", f"{branch!r} is not a branch's name", "Write it like master")
