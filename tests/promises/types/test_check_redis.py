# SPDX-License-Identifier: Apache-2.0
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
Start = Callable[..., Any]


def ask(place: Path, *words: str) -> str:
    done = subprocess.run(
        ["redis-cli", "-s", str(place), *words], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()


def test_a_server_that_answers_passes(measure: Measure, start_redis: Start) -> None:
    place = start_redis().socket
    measured = measure("check_redis", socket=place)
    assert (measured.is_passed, measured.message) == (True, f"{place} is a primary")
    assert 0 < measured.metrics["seconds"].value < 5
    assert measured.metrics["used_memory"].unit == "B"
    assert measured.metrics["clients"].value == 1


def test_it_asks_with_the_password_and_by_an_address(measure: Measure, start_redis: Start, free_port: int) -> None:
    start_redis("--port", str(free_port), "--bind", "127.0.0.1", "--requirepass", "planted")
    where = {"host": "127.0.0.1", "port": free_port}
    assert measure("check_redis", **where, password=Secret("planted")).is_passed
    without = measure("check_redis", **where)
    assert (without.is_passed, without.message) == (False, f"127.0.0.1:{free_port}: Authentication required.")
    assert not measure("check_redis", **where, password="other").is_passed


def test_it_asks_by_tls_that_is_verified(
    measure: Measure, start_redis: Start, authority: trustme.CA, ca_file: Path, free_port: int, tmp_path: Path
) -> None:
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    files = {"cert": tmp_path / "both.pem", "key": tmp_path / "both.pem", "ca-cert": ca_file}
    words = [word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))]
    start_redis("--tls-port", str(free_port), "--bind", "127.0.0.1", "--tls-auth-clients", "no", *words)
    where = {"host": "127.0.0.1", "port": free_port}
    assert measure("check_redis", **where, ca=ca_file.name).is_passed
    other = measure("check_redis", **where, ca="other.pem")
    assert not other.is_passed
    assert "certificate verify failed" in other.message
    assert not measure("check_redis", **where).is_passed


def test_the_role_counts(measure: Measure, start_redis: Start, free_port: int) -> None:
    place = start_redis("--replicaof", f"127.0.0.1 {free_port}").socket
    assert measure("check_redis", socket=place, role="replica").is_passed
    other = measure("check_redis", socket=place, role="primary")
    assert (other.is_passed, other.message) == (False, f"{place} is a replica, expected a primary")


def test_a_server_that_can_not_save_fails(
    measure: Measure, start_redis: Start, tmp_path: Path, eventually: Callable[[Callable[[], object]], None]
) -> None:
    (tmp_path / "gone").mkdir()
    server = start_redis("--dir", str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    ask(server.socket, "bgsave")
    eventually(lambda: "rdb_bgsave_in_progress:0" in ask(server.socket, "info", "persistence"))
    measured = measure("check_redis", socket=server.socket)
    assert not measured.is_passed
    assert measured.message.endswith(" is a primary that could not write its snapshot; see its log")


def test_a_server_that_is_away_fails(measure: Measure, tmp_path: Path) -> None:
    measured = measure("check_redis", socket="none")
    assert (measured.is_passed, measured.message.partition(":")[0]) == (False, "none")
    assert "No such file" in measured.message


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_redis", host="h", socket="s")
    assert str(caught.value) == "host, socket: host and socket can't go together. Give one of them."
