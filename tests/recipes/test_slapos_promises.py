# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (what SlapOS has and what we have stand side by side, as a table)
"""Modules of SlapOS for which there is a promise type: it is there, and takes their options."""

import re
import sys
from typing import Any

import pytest

from allotment.options import option_names, parse_options
from allotment.plugins import load, plugins
from allotment_recipes.slapos_promises import COUNTERPARTS

TYPES = {found.item.name: found.item.target for found in plugins().contributions("allotment_promise_types")}


def options_of(module: str) -> Any:
    return sys.modules[load(TYPES[COUNTERPARTS[module].type]).__module__].Options


@pytest.mark.parametrize("module", COUNTERPARTS)
def test_the_type_is_there_and_has_what_options_are_renamed_to(module: str) -> None:
    names, _ = option_names(options_of(module))
    assert set(COUNTERPARTS[module].renamed.values()) <= names


@pytest.mark.parametrize(
    ("module", "theirs", "ours"),
    [
        ("audit_os_version", {"dist": "Debian GNU/Linux", "versions": "12 13"}, {"dist": "debian", "versions": "12 13"}),
        ("audit_uptodate", {"tolerance-days": "3", "check-other": "x"}, {"tolerance-days": "3"}),
        ("check_icmp_packet_lost", {"address": "a", "count": "5", "ipv4": "1"}, {"address": "a", "count": "5", "threshold": "0"}),
        ("check_partition_deployment_state", {"partition-id": "part0", "monitor-url": "a"}, {}),
        ("check_certificate", {"certificate": "a", "key": "b", "certificate-expiration-days": "9"}, None),
        ("check_command_execute", {"command": "/bin/true a"}, {"command": "/bin/true a"}),
        ("check_command_execute", {"command": "a && b"}, {"command": "/bin/sh -c 'a && b'"}),
        ("check_cpu_temperature", {"avg-flag-file": "x", "max-spot-temp": "9"}, {"max-spot-temp": "9"}),
        ("check_error_on_http_log", {"log-file": "a", "maximum-delay": "60"}, None),
        ("check_file_state", {"filename": "a", "state": "empty", "report-anomaly": "1"}, {"filename": "a", "state": "empty"}),
        ("check_free_disk_space", {"collectordb": "x", "threshold-ratio": "0.02"}, {"threshold": "2 %", "nb-days-predicted": "0"}),
        ("check_free_disk_space", {"threshold": "5", "display-prediction": "1", "nb-days-predicted": "3"}, {"threshold": "5G", "nb-days-predicted": "3"}),
        ("check_interface_up", {"ifname": "eth0", "testing": "False"}, {"ifname": "eth0"}),
        ("check_network_errors_packets", {"max-lost-packets-per-MB": "9", "max-error-messages-per-MB": "8"}, None),
        ("check_network_transit", {"min-data-amount": "0.1", "transit-period": "60"}, {"min-data-amount": "0.1M", "transit-period": "60"}),
        ("check_ram_usage", {"min-threshold-ram": "500", "min-avg-ram": "1000"}, {"min-threshold-ram": "500M", "min-avg-ram": "1000M"}),
        ("check_server_cpu_load", {"cpu-load-threshold": "2"}, None),
        ("check_socket_listening", {"host": "::1", "port": "1"}, None),
        ("check_socket_listening", {"abstract": "name"}, {"pathname": "name", "abstract": "true"}),
        ("check_surykatka_json", {"json-file": "a", "url": "http://a/", "report": "http_query", "ip-list": "127.0.0.1 ::1"}, None),
        ("check_url_available", {"url": "https://a/", "allow-redirects": "0"}, {"url": "https://a/", "verify": "0", "allow-redirects": "0"}),
        ("check_url_available", {"url": "https://a/", "ca-cert-file": "c"}, {"url": "https://a/", "verify": "1", "ca": "c"}),
        ("check_websocket_available", {"url": "wss://a/", "binary": "0", "content-to-send": "a", "content-to-receive": "a"}, {"url": "wss://a/", "verify": "0", "binary": "0", "content-to-send": "a", "content-to-receive": "a"}),
        ("check_websocket_available", {"url": "ws://a/"}, {"url": "ws://a/", "verify": "0", "binary": "1"}),
        ("monitor_partition_space", {"collectordb": "x", "threshold-ratio": "0.1"}, {"threshold-ratio": "0.1"}),
    ],
)  # fmt: skip
def test_options_are_translated(module: str, theirs: dict[str, str], ours: dict[str, str] | None) -> None:
    found = COUNTERPARTS[module].options(theirs)
    assert found == (theirs if ours is None else ours)
    parse_options(options_of(module), found)


def test_long_requests_are_lines_of_zopes_log() -> None:
    found = COUNTERPARTS["check_error_on_zope_longrequest_log"].options({"log-file": "a", "error-threshold": "1"})
    parsed = parse_options(options_of("check_error_on_zope_longrequest_log"), found)
    assert re.search(parsed.pattern, "2026-01-02 03:04:05,678 - WARNING Long request")
