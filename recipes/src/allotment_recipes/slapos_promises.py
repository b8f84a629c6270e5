# SPDX-License-Identifier: Apache-2.0
"""Which of our promise types stands for which module of ``slapos.promise.plugin``, and how its options are called.

A module that is not here is run as it is. What all modules have, such as ``frequency``, is the recipe's business.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

PACKAGE: Final = "slapos.promise.plugin."
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_FOR_A_SHELL: Final = re.compile(r"[;&|<>$`*?~()\n#]")
_ZOPE_LOG: Final = r"^\d+-\d+-\d+ \d+:\d+:\d+,\d+ - [A-Za-z]+ "


@dataclass(frozen=True)
class Counterpart:
    """A promise type in place of a module."""

    type: str
    renamed: Mapping[str, str] = field(default_factory=dict)  # their option -> ours
    dropped: tuple[str, ...] = ()  # their options that mean nothing here
    convert: Callable[[dict[str, str]], None] | None = None  # what else changes, in the options by their names

    def options(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """Return a module's options as those of the type."""
        config = {name: value for name, value in theirs.items() if name not in self.dropped}
        if self.convert is not None:
            self.convert(config)
        return {self.renamed.get(name, name): value for name, value in config.items()}


def _run_by_a_shell(config: dict[str, str]) -> None:
    if _FOR_A_SHELL.search(config.get("command", "")):
        config["command"] = shlex.join(["/bin/sh", "-c", config["command"]])


def _abstract_socket(config: dict[str, str]) -> None:
    """There ``abstract`` is the name itself."""
    if name := config.pop("abstract", "").strip():
        config |= {"pathname": name, "abstract": "true"}


def _web(config: dict[str, str]) -> None:
    """There certificates are believed unless ``verify`` is 1 or their authority is given."""
    config.setdefault("verify", "1" if config.get("ca-cert-file") else "0")


def _websocket(config: dict[str, str]) -> None:
    """There any certificate is believed, and messages are binary unless told otherwise."""
    config.setdefault("verify", "0")
    config.setdefault("binary", "1")


def _disk(config: dict[str, str]) -> None:
    """There the threshold is a ratio of the disk or, before, gigabytes; the forecast is wanted by an option."""
    ratio, size = config.pop("threshold-ratio", "").strip(), config.pop("threshold", "").strip()
    if _NUMBER.fullmatch(ratio):
        config["threshold"] = f"{100 * float(ratio):g} %"
    elif _NUMBER.fullmatch(size):
        config["threshold"] = f"{size}G"
    if config.pop("display-prediction", "0").strip() in ("", "0"):
        config["nb-days-predicted"] = "0"


def _megabytes(*names: str) -> Callable[[dict[str, str]], None]:
    def convert(config: dict[str, str]) -> None:
        for name in names:
            if _NUMBER.fullmatch(config.get(name, "").strip()):
                config[name] = f"{config[name].strip()}M"

    return convert


def _distribution(config: dict[str, str]) -> None:
    """There it is called in full, like Debian GNU/Linux."""
    if words := config.get("dist", "").split():
        config["dist"] = words[0].lower()


def _packets(config: dict[str, str]) -> None:
    """There none may get lost; and whether it is an IPv4 address shows by itself."""
    config.pop("ipv4", None)
    config.setdefault("threshold", "0")


def _long_requests(config: dict[str, str]) -> None:
    config["pattern"] = _ZOPE_LOG


COUNTERPARTS: Final[Mapping[str, Counterpart]] = {
    "audit_os_version": Counterpart("audit_os_version", convert=_distribution),
    "audit_uptodate": Counterpart("audit_uptodate", dropped=("check-other",)),
    "check_certificate": Counterpart("check_certificate"),
    "check_command_execute": Counterpart("check_command_execute", convert=_run_by_a_shell),
    "check_cpu_temperature": Counterpart("check_cpu_temperature", dropped=("avg-flag-file",)),
    "check_error_on_http_log": Counterpart("check_error_on_http_log"),
    "check_error_on_zope_longrequest_log": Counterpart("check_log_pattern", convert=_long_requests),
    "check_file_state": Counterpart("check_file_state", dropped=("report-anomaly", "perdiodic-only")),
    "check_free_disk_space": Counterpart(
        "check_free_disk_space", dropped=("collectordb", "display-partition"), convert=_disk
    ),
    "check_icmp_packet_lost": Counterpart("check_icmp_packet_lost", convert=_packets),
    "check_interface_up": Counterpart("check_interface_up", dropped=("testing",)),
    "check_network_errors_packets": Counterpart("check_network_errors_packets"),
    "check_network_transit": Counterpart(
        "check_network_transit",
        dropped=("last-transit-file",),
        convert=_megabytes("min-data-amount", "max-data-amount"),
    ),
    "check_partition_deployment_state": Counterpart(
        "check_partition_deployment_state", dropped=("partition-id", "monitor-url")
    ),
    "check_ram_usage": Counterpart(
        "check_ram_usage", dropped=("last-avg-ram-file",), convert=_megabytes("min-threshold-ram", "min-avg-ram")
    ),
    "check_server_cpu_load": Counterpart("check_server_cpu_load"),
    "check_socket_listening": Counterpart("check_socket_listening", convert=_abstract_socket),
    "check_surykatka_json": Counterpart("check_site_json"),
    "check_url_available": Counterpart("check_url_available", {"ca-cert-file": "ca"}, convert=_web),
    "check_websocket_available": Counterpart("check_websocket_available", convert=_websocket),
    "monitor_partition_space": Counterpart("monitor_partition_space", dropped=("collectordb",)),
}
