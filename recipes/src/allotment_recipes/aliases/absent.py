# SPDX-License-Identifier: Apache-2.0
"""Recipes of SlapOS's profiles that have no counterpart, as they work in another way here, and what is used instead."""

from collections.abc import Mapping
from typing import Final

_QUEUE: Final = "Use backup.queue: callback-<name> is what runs, and ${section:notify} <name> asks for it"
_PRODUCT: Final = "Use template.jinja2 for its configuration and wrapper for its program"

# Canonical name of a distribution -> entry point -> what to do, with our recipes by their names.
ABSENT: Final[Mapping[str, Mapping[str, str]]] = {
    "slapos-cookbook": {
        "check_page_content": "Use promise with check_command_execute, and a script that compares",
        "generic.memcached": _PRODUCT,
        "neoppod.cluster": _PRODUCT,
        "notifier": _QUEUE,
        "tidstorage": _PRODUCT,
    },
    "rubygemsrecipe": {
        "default": "Fetch each gem with download, and let script install them with: gem install --local",
    },
}
