# SPDX-License-Identifier: Apache-2.0
"""SlapOS's checks that are judged when an instance is processed: the promise tells what came out."""

import ipaddress
import shlex
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes.aliases import Alias

_FAILS: Final = 'echo "$0"; exit 1'


def _check_parameter(options: dict[str, str]) -> None:
    """Compare the value now: it changes with the profile's input only. It may be secret, and is told nowhere."""
    value = options.pop("value", "").strip()
    kind = options.pop("expected-type", "").strip()
    expected, unwanted = options.pop("expected-value", None), options.pop("expected-not-value", None)
    if not kind and expected is None and unwanted is None:
        fix = "Add expected-value, expected-not-value, or expected-type with ipv4 or ipv6"
        raise OptionProblem("expected-value", "there is nothing to compare with", fix)
    problem = ""
    if kind:
        problem = "" if _is_address(value, kind) else f"the value is no {kind} address"
    if expected is not None and value != expected.strip():
        problem = "the value is not the one that is expected"
    if unwanted is not None and value == unwanted.strip():
        problem = "the value is the one that it must not be"
    command = ["/bin/sh", "-c", _FAILS, problem] if problem else ["/bin/true"]
    options |= {"promise": "check_command_execute", "config-command": shlex.join(command)}


def _is_address(value: str, kind: str) -> bool:
    kinds = {"ipv4": ipaddress.IPv4Address, "ipv6": ipaddress.IPv6Address}
    if kind not in kinds:
        raise OptionProblem("expected-type", f"{kind!r} is not one that is known", "Write ipv4 or ipv6")
    try:
        kinds[kind](value)
    except ValueError:
        return False
    return True


CHECK_PARAMETER: Final = Alias("promise", renamed={"path": "output"}, convert=_check_parameter)
