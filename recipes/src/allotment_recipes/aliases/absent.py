# SPDX-License-Identifier: Apache-2.0
"""Recipes of SlapOS's profiles that have no counterpart, as they work in another way here, and what is used instead."""

from collections.abc import Mapping
from typing import Final

_CERTIFICATE: Final = "Use ca.certificate with ca-path in each section that needs one, no authority beside it"
_SSH_KEYS: Final = "Use backup.ssh-keys, which makes the key itself; others read ${section:public-key}"
_QUEUE: Final = "Use backup.queue: callback-<name> is what runs, and ${section:notify} <name> asks for it"
_VALUE: Final = "Use a parameter of the instance, or readline for a file of one line"
_TUNNEL: Final = "Use wrapper, with the call of 6tunnel as its command-line"
_PRODUCT: Final = "Use template.jinja2 for its configuration and wrapper for its program"

# Canonical name of a distribution -> entry point -> what to do, with our recipes by their names.
ABSENT: Final[Mapping[str, Mapping[str, str]]] = {
    "slapos-cookbook": {
        "certificate_authority": _CERTIFICATE,
        "certificate_authority.request": f"{_CERTIFICATE}, and wait-for-files of wrapper for what needs the files",
        "check_page_content": "Use promise with check_command_execute, and a script that compares",
        "check_parameter": "Use promise with check_command_execute, and a script that compares",
        "dropbear.add_authorized_key": "Use backup.ssh-keys with authorized-keys and the command that they may run",
        "equeue": _QUEUE,
        "generic.kumofs": _PRODUCT,
        "generic.memcached": _PRODUCT,
        "ipv4toipv6": _TUNNEL,
        "ipv6toipv4": _TUNNEL,
        "neoppod.admin": _PRODUCT,
        "neoppod.cluster": _PRODUCT,
        "neoppod.master": _PRODUCT,
        "neoppod.storage": _PRODUCT,
        "notifier": _QUEUE,
        "notifier.callback": _QUEUE,
        "notifier.notify": _QUEUE,
        "pbs": "Use backup.pull where generations are kept, and backup.push to bring them to a standby",
        "sshkeys_authority": _SSH_KEYS,
        "sshkeys_authority.request": _SSH_KEYS,
        "tidstorage": _PRODUCT,
        "zero-knowledge.read": _VALUE,
        "zero-knowledge.write": _VALUE,
    },
}
