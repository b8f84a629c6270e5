# SPDX-License-Identifier: Apache-2.0
"""slapos.cookbook. Values keep their types all the way, so what is serialised there is the same recipe here."""

import shlex
from typing import Final

from allotment_recipes.aliases import Alias

# Recipes never talk to the network: the node carries what they ask for and what they tell.
_CONNECTION: Final = dict.fromkeys(
    (
        *("server-url", "computer-id", "partition-id", "software-release-url", "slap-software-release-url"),
        *("computer", "partition", "url", "key", "cert", "key-file", "cert-file"),
    ),
    "the node knows it, and talks to the master",
)
_DAEMON: Final = "the service is a program of ours"
_STAMPED_LOG: Final = (
    'while IFS= read -r line; do printf "%s %s\\n" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$line"; done >> "$0"'
)


def _simplelogger(options: dict[str, str]) -> None:
    """Make the script that puts the time before each line it reads."""
    log = options.pop("log", "").strip()
    options["command-line"] = shlex.join(["/bin/sh", "-c", _STAMPED_LOG, log])


_SLAPCONFIGURATION: Final = Alias("slapconfiguration", dropped=_CONNECTION, defaults={"serialisation": "xml"})
_SERIALISED: Final = Alias("slapconfiguration", dropped=_CONNECTION, defaults={"serialisation": "json-in-xml"})
_REQUEST: Final = Alias("request", dropped=_CONNECTION)
_REQUEST_OPTIONAL: Final = Alias("request-optional", dropped=_CONNECTION)

SLAPOS_COOKBOOK: Final = {
    "copyfilelist": Alias("copyfiles"),
    "cron": Alias(
        "cron",
        renamed={"binary": "wrapper-path"},
        dropped=dict.fromkeys(("dcrond-binary", "crontabs", "catcher"), _DAEMON),
    ),
    "cron.d": Alias("cron.entry"),
    "free_port": Alias("free-port"),
    "generate.mac": Alias("random.mac"),
    "generate.password": Alias("password", dropped={"user": "a hash needs no name"}),
    "logrotate.d": Alias("logrotate.entry"),
    "mkdirectory": Alias("mkdirectory"),
    "publish": Alias("publish"),
    "publish-early": Alias("publish-early"),
    "publish.serialised": Alias("publish", defaults={"-serialisation": "json"}),
    "publish_failsafe": Alias("publish"),
    "publish_failsafe.serialised": Alias("publish", defaults={"-serialisation": "json"}),
    "random.integer": Alias("random.integer"),
    "random.time": Alias("random.time"),
    "readline": Alias("readline"),
    "request": _REQUEST,
    "request.serialised": _REQUEST,
    "requestoptional": _REQUEST_OPTIONAL,
    "requestoptional.serialised": _REQUEST_OPTIONAL,
    "simplehttpserver": Alias("simplehttpserver", dropped={"root-dir": "base-path says it"}),
    "simplelogger": Alias("wrapper", renamed={"wrapper": "wrapper-path"}, convert=_simplelogger),
    "slapconfiguration": _SLAPCONFIGURATION,
    "slapconfiguration.serialised": _SERIALISED,
    "slapconfiguration.jsonschema": _SERIALISED,
    "switch-softwaretype": Alias("switch-softwaretype"),
    "symbolic.link": Alias("symlink"),
    "urlparse": Alias("urlparse"),
    "uuid": Alias("random.uuid", renamed={"cache-file": "storage-path"}),
    "userinfo": Alias("userinfo"),
    "wrapper": Alias("wrapper", dropped={"parameters-extra": "a wrapper always hands its own arguments on"}),
}
