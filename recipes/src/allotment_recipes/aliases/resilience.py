# SPDX-License-Identifier: Apache-2.0
"""SlapOS's resilience: the programs are those of the profile's slapos.toolbox; what starts them is ours.

A release of one's own has better ones: the recipes ``backup.*``.
"""

import hashlib
import shlex
from pathlib import PurePosixPath
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes.aliases import Alias

_KEYS: Final = dict.fromkeys(("type", "size", "request-directory", "keys-directory", "name"), "the key is made here")
_TRUE: Final = ("1", "true", "y", "yes")


def _ssh_authority(options: dict[str, str]) -> None:
    """Make the folder of the keys, and nothing else."""
    kept = {name: options[name] for name in ("recipe", "keys-directory") if options.get(name, "").strip()}
    options.clear()
    options |= kept


def _ssh_request(options: dict[str, str]) -> None:
    """Make the script only where there is a program; else it is the authority's, of a section that is extended."""
    if not options.get("executable", "").strip():
        options.pop("executable", None)
        options.pop("wrapper", None)


def _equeue(options: dict[str, str]) -> None:
    """Start the queue of commands."""
    words = [options.pop("equeue-binary", "")]
    for option, flag in (
        ("database", "--database"),
        ("log", "--logfile"),
        ("lockfile", "--lockfile"),
        ("loglevel", "--loglevel"),
        ("takeover-triggered-file-path", "--takeover-triggered-file-path"),
    ):
        text = options.pop(option, "").strip()
        if text:
            words += [flag, text]
    options["command-line"] = shlex.join([*words, options.pop("socket", "")])


def _callback(options: dict[str, str]) -> None:
    """Write what is run into the file that the notifier looks for: it is called after the feed's identifier."""
    folder = options.pop("callbacks-directory", "") or options.pop("callbacks", "")
    feed = options.pop("on-notification-id", "").strip()
    if not feed:
        raise OptionProblem("on-notification-id", "is empty", "Write the address of the feed")
    options["inline"] = options.pop("callback", "").strip().replace("$${", "$$${")
    options["output"] = str(PurePosixPath(folder, hashlib.sha512(feed.encode()).hexdigest()))


def _notify(options: dict[str, str]) -> None:
    """Run a program under the one that notes how it ended in a feed, and tells those who listen."""
    name, host = options.pop("name", "").strip(), options.pop("host", "").strip()
    if "/" in name or not name:
        raise OptionProblem("name", f"{name!r} is not a feed's name", "Write a word")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    feed = f"http://{host}:{options.pop('port', '').strip()}/get/{name}"
    words = [options.pop("notifier-binary", ""), "--log", str(PurePosixPath(options.pop("feeds", ""), name))]
    words += ["--title", options.pop("title", "") or name, "--feed", feed]
    words += ["--max-run", options.pop("max-run", "").strip() or "1"]
    words += ["--executable", options.pop("executable", "")]
    for option in ("instance-root-name", "log-url", "status-item-directory"):
        text = options.pop(option, "").strip()
        if text:
            words += [f"--{option}", text]
    options["command-line"] = shlex.join([*words, "--notification-url", *options.pop("notify", "").split()])


def _pbs(options: dict[str, str]) -> None:
    """Let rdiff-backup serve a folder; what pulls and pushes is a recipe of ours."""
    if options.pop("client", "").strip().lower() in _TRUE:
        fix = "Use backup.pull where generations are kept, and backup.push to bring them to a standby"
        raise OptionProblem("client", "pulling from servers of rdiff-backup has no counterpart here", fix)
    words = [options.pop("rdiffbackup-binary", ""), "--restrict", options.pop("path", ""), "--server"]
    options["command-line"] = shlex.join(words)


_WRAPPER: Final = {"wrapper": "wrapper-path"}
EQUEUE: Final = Alias("wrapper", renamed=_WRAPPER, convert=_equeue)
NOTIFIER_CALLBACK: Final = Alias("template", convert=_callback)
NOTIFIER_NOTIFY: Final = Alias("wrapper", renamed=_WRAPPER, convert=_notify)
PBS: Final = Alias("wrapper", renamed=_WRAPPER, convert=_pbs)
SSH_AUTHORITY: Final = Alias("mkdirectory", convert=_ssh_authority)
SSH_REQUEST: Final = Alias("ssh.key", dropped=_KEYS, convert=_ssh_request)
