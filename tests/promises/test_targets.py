# SPDX-License-Identifier: Apache-2.0
"""What is looked at: relative paths of two partitions are two things, though they are written alike."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from allotment.options import parse_options

REDIS = {"socket": "run/a"}


@pytest.mark.parametrize(
    ("kind", "options", "target"),
    [
        ("check_certificate", {"certificate": "run/a"}, "/part/run/a"),
        ("check_file_state", {"filename": "run/a"}, "/part/run/a"),
        ("check_file_state", {"filename": "/run/a"}, "/run/a"),
        ("check_queue_length", {"folder": "run/a", "maximum": "1"}, "/part/run/a"),
        ("check_queue_length", {**REDIS, "key": "jobs", "maximum": "1"}, "/part/run/a"),
        ("check_redis", REDIS, "/part/run/a"),
        ("check_redis", {"host": "::1"}, "::1:6379"),
        ("check_replication_lag", {**REDIS, "server": "postgresql"}, "/part/run/a"),
        ("check_service_state", {"service": "web"}, "/part/etc/service/web"),
        ("check_site_json", {"json-file": "run/a", "report": "bot_status"}, "/part/run/a"),
        ("check_socket_listening", {"pathname": "run/a"}, "/part/run/a"),
        ("check_socket_listening", {"pathname": "a", "abstract": "true"}, "@a"),
        ("check_sql_query", {**REDIS, "server": "mariadb", "query": "select 1"}, "/part/run/a"),
        ("check_sql_query", {"server": "sqlite", "file": "run/a", "query": "select 1"}, "/part/run/a"),
    ],
)
def test_a_path_is_told_in_full(kind: str, options: dict[str, Any], target: str) -> None:
    module = importlib.import_module(f"allotment_promises.types.{kind}")
    cls = getattr(module, "".join(map(str.capitalize, kind.split("_"))))
    assert cls(parse_options(module.Options, options), Path("/part"), "name").target() == target
