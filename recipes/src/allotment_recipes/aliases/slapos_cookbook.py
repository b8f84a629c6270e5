# SPDX-License-Identifier: Apache-2.0
"""slapos.cookbook. Values keep their types all the way, so what is serialised there is the same recipe here."""

import re
import shlex
from typing import Final

from allotment_recipes.aliases import Alias
from allotment_recipes.aliases.certificates import CERTIFICATE_AUTHORITY, CERTIFICATE_REQUEST
from allotment_recipes.aliases.checks import CHECK_PARAMETER
from allotment_recipes.aliases.products import KUMOFS, NEO
from allotment_recipes.aliases.resilience import (
    EQUEUE,
    NOTIFIER_CALLBACK,
    NOTIFIER_NOTIFY,
    PBS,
    SSH_AUTHORITY,
    SSH_REQUEST,
)
from allotment_recipes.slapos_promises import PACKAGE

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

_IMPORT: Final = re.compile(r"from\s+([\w.]+)\s+import\s+(\w+)(?:\s+as\s+RunPromise)?")


def _simplelogger(options: dict[str, str]) -> None:
    """Make the script that puts the time before each line it reads."""
    log = options.pop("log", "").strip()
    options["command-line"] = shlex.join(["/bin/sh", "-c", _STAMPED_LOG, log])


def _promise_plugin(options: dict[str, str]) -> None:
    """Name the promise after its file, as ``name`` is a part of that name there, and its module in full."""
    if options.get("output", "").strip():
        options.pop("name", None)
    imported = _IMPORT.fullmatch(options.pop("content", "").strip())
    short = options.pop("promise", "").strip()
    if imported:
        options |= {"module": imported[1], "class": imported[2]}
    elif short or "." not in options.get("module", "."):
        options["module"] = PACKAGE + (short or options["module"].strip())


def _check_port(options: dict[str, str]) -> None:
    """Make a promise of the executable check."""
    options |= {"promise": "check_socket_listening", "config-host": options.pop("hostname", "")}
    options["config-port"] = options.pop("port", "")


def _check_url(options: dict[str, str]) -> None:
    """Do so of the other one."""
    options |= {"promise": "check_url_available", "config-url": options.pop("url", "")}
    for theirs, ours in (("timeout", "config-timeout"), ("http_code", "config-http-code")):
        if theirs in options:
            options[ours] = options.pop(theirs)


def _postgres(options: dict[str, str]) -> None:
    """Listen on the addresses of both kinds."""
    options["addresses"] = "\n".join(options.pop(kind, "") for kind in ("ipv4", "ipv6")).strip()


_VALUES: Final = frozenset({"configuration", "ipv4", "ipv6", "slave-instance-list", "storage-dict"})
_SLAPCONFIGURATION: Final = Alias(
    "slapconfiguration", dropped=_CONNECTION, defaults={"serialisation": "xml"}, json=_VALUES
)
_SERIALISED: Final = Alias(
    "slapconfiguration", dropped=_CONNECTION, defaults={"serialisation": "json-in-xml"}, json=_VALUES
)
_REQUEST: Final = Alias("request", dropped=_CONNECTION)
_REQUEST_OPTIONAL: Final = Alias("request-optional", dropped=_CONNECTION)


def _tunnel(listens: str, leads_to: str) -> Alias:
    """Return the alias of a program that listens on an address of one kind and leads to one of the other."""

    def convert(options: dict[str, str]) -> None:
        binary = options.pop("tunnel6-path", "") or options.pop("6tunnel-path", "")
        places = [options.pop(name, "") for kind in (listens, leads_to) for name in (kind, f"{kind}-port")]
        # -6 before the address that is listened on, -4 for the one that is connected to; the other kinds are its own.
        flags = ["-6", "-4"] if listens == "ipv6" else []
        options["command-line"] = shlex.join([binary, *flags, "-d", "-l", *places])

    dropped = {"shell-path": "it is a script of /bin/sh"}
    return Alias("wrapper", renamed={"runner-path": "wrapper-path"}, dropped=dropped, convert=convert)


SLAPOS_COOKBOOK: Final = {
    "certificate_authority": CERTIFICATE_AUTHORITY,
    "certificate_authority.request": CERTIFICATE_REQUEST,
    "check_parameter": CHECK_PARAMETER,
    "check_port_listening": Alias("promise", renamed={"path": "output"}, convert=_check_port),
    "check_url_available": Alias(
        "promise",
        renamed={"path": "output"},
        dropped=dict.fromkeys(("dash_path", "curl_path"), "the node makes the request"),
        convert=_check_url,
    ),
    "copyfilelist": Alias("copyfiles"),
    "cron": Alias(
        "cron",
        renamed={"binary": "wrapper-path"},
        dropped=dict.fromkeys(("dcrond-binary", "crontabs", "catcher"), _DAEMON),
    ),
    "cron.d": Alias("cron.entry"),
    "dropbear.add_authorized_key": Alias("ssh.authorized-keys"),
    "equeue": EQUEUE,
    "free_port": Alias("free-port"),
    "generic.kumofs": KUMOFS,
    "generic.mysql.wrap_update_mysql": Alias("mariadb.update"),
    "generate.mac": Alias("random.mac"),
    "generate.password": Alias("password", dropped={"user": "a hash needs no name"}),
    "ipv4toipv6": _tunnel("ipv4", "ipv6"),
    "ipv6toipv4": _tunnel("ipv6", "ipv4"),
    "logrotate.d": Alias("logrotate.entry"),
    "mkdirectory": Alias("mkdirectory"),
    "neoppod.admin": NEO,
    "neoppod.master": NEO,
    "neoppod.storage": NEO,
    "notifier.callback": NOTIFIER_CALLBACK,
    "notifier.notify": NOTIFIER_NOTIFY,
    "pbs": PBS,
    "postgres": Alias("postgres", convert=_postgres),
    "promise.plugin": Alias("promise", convert=_promise_plugin),
    "publish": Alias("publish"),
    "publish-early": Alias("publish-early"),
    "publish.serialised": Alias("publish", defaults={"-serialisation": "json"}),
    "publish_failsafe": Alias("publish"),
    "publish_failsafe.serialised": Alias("publish", defaults={"-serialisation": "json"}),
    "random.integer": Alias("random.integer"),
    "random.time": Alias("random.time"),
    "readline": Alias("readline"),
    "redis.server": Alias(
        "redis",
        renamed={"ipv6": "address"},
        dropped=dict.fromkeys(("pid-file", "log-file"), "the supervisor keeps both"),
    ),
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
    "sshkeys_authority": SSH_AUTHORITY,
    "sshkeys_authority.request": SSH_REQUEST,
    "symbolic.link": Alias("symlink"),
    "urlparse": Alias("urlparse"),
    "uuid": Alias("random.uuid", renamed={"cache-file": "storage-path"}),
    "userinfo": Alias("userinfo"),
    "wrapper": Alias("wrapper", dropped={"parameters-extra": "a wrapper always hands its own arguments on"}),
    "zero-knowledge.read": Alias("editable.read"),
    "zero-knowledge.write": Alias("editable"),
}
