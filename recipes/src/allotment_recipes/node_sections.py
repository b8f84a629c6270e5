# SPDX-License-Identifier: Apache-2.0
"""The sections that SlapOS's node adds to every instance's profile: what is written there refers to them."""

from collections.abc import Mapping
from typing import Final

from allotment.messages.instance import InstanceInput

_CONNECTION: Final = "slap-connection"
_OLD_CONNECTION: Final = "slap_connection"  # its options are written with _ too
NAMES: Final = frozenset({_CONNECTION, _OLD_CONNECTION})


def node_sections(given: InstanceInput) -> Mapping[str, Mapping[str, str]]:
    """Return them. No recipe talks to the master, so there is neither its address nor a key for it."""
    options = {
        "computer-id": given.node,
        "partition-id": given.partition,
        "software-release-url": given.manifest,
        **dict.fromkeys(("server-url", "key-file", "cert-file"), ""),
    }
    return {_CONNECTION: options, _OLD_CONNECTION: {key.replace("-", "_"): text for key, text in options.items()}}
