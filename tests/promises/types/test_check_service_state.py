# SPDX-License-Identifier: Apache-2.0
"""The services are those of a real supervisord, as a node runs it."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment.options import OptionProblem
from allotment_node.supervisor import SupervisorOptions, read_services
from allotment_node.supervisord import Supervisord
from allotment_promises import GenericPromise, Measurement
from allotment_promises.types import check_service_state


@pytest.fixture
def supervisord(tmp_path: Path) -> Iterator[Supervisord]:
    """A supervisord of which the partition ``tmp_path`` is one."""
    with tempfile.TemporaryDirectory(prefix="a-") as short:
        folders = {name: Path(short) / name for name in ("sv", "usage", "logs")}
        for folder in folders.values():
            folder.mkdir()
        options = SupervisorOptions(
            folders["sv"], tmp_path.parent, folders["usage"], folders["logs"], capacity=1, limits={}, attached=False
        )
        made = Supervisord(options)
        yield made
        made.remove(tmp_path.name)
        process = psutil.Process(int((options.folder / "supervisord.pid").read_text()))
        process.terminate()
        process.wait(20)


@pytest.fixture
def check(measure: Callable[..., Measurement]) -> Callable[..., Measurement]:
    def run(service: str, **options: Any) -> Measurement:
        check_service_state._services.cache_clear()  # a test does not wait for the second to pass
        return measure("check_service_state", service=service, **options)

    return run


def program(partition: Path, name: str, text: str) -> None:
    path = partition / "etc/service" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_supervised_service(
    check: Callable[..., Measurement],
    supervisord: Supervisord,
    tmp_path: Path,
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    program(tmp_path, "web", "exec sleep 1000")
    program(tmp_path, "other-web", "exec sleep 1000")
    supervisord.apply(tmp_path.name, read_services(tmp_path))
    eventually(lambda: check("web").is_passed)
    measured = check("web")
    assert measured.message.startswith("web runs for ")
    assert 0 <= measured.metrics["age"].value < 600
    assert check("web", expect="stopped").message == "web is running, expected stopped"
    young = check("web", minimum_age=3600)
    assert not young.is_passed
    assert young.message.endswith(" s, expected at least 3600 s")
    (tmp_path / "etc/service/web").unlink()
    supervisord.apply(tmp_path.name, read_services(tmp_path))
    assert check("web") == Measurement.failed("web is stopped, expected running")
    assert check("web", expect="stopped").is_passed
    assert check("other-web").is_passed


def test_the_age_begins_anew_with_each_start(
    check: Callable[..., Measurement],
    supervisord: Supervisord,
    tmp_path: Path,
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    def started() -> float:
        measured = check("web")
        return time.time() - measured.metrics["age"].value if measured.is_passed else 0.0

    program(tmp_path, "web", "exec sleep 1000")
    supervisord.apply(tmp_path.name, read_services(tmp_path))
    eventually(started)
    before = started()
    (state,) = supervisord.states()
    assert state.pid is not None
    os.kill(state.pid, signal.SIGTERM)
    eventually(lambda: started() > before + 0.5)


def test_a_suspended_service_does_not_run(
    check: Callable[..., Measurement],
    supervisord: Supervisord,
    tmp_path: Path,
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    program(tmp_path, "web", "exec sleep 1000")
    supervisord.apply(tmp_path.name, read_services(tmp_path))
    eventually(lambda: check("web").is_passed)
    (state,) = supervisord.states()
    assert state.pid is not None
    shim = psutil.Process(state.pid)
    eventually(lambda: [item.name() for item in shim.children()] == ["sleep"])  # before, it looks like its shim
    (service,) = shim.children()
    service.suspend()
    eventually(lambda: not check("web").is_passed)
    assert check("web").message == "web is suspended by a signal, expected running"
    assert check("web", expect="stopped").message == "web is running, expected stopped"
    service.resume()
    eventually(lambda: check("web").is_passed)


def test_a_process_that_only_names_the_program_is_no_service(check: Callable[..., Measurement], tmp_path: Path) -> None:
    program(tmp_path, "web", "sleep 1000")
    with psutil.Popen(["tail", "-f", str(tmp_path / "etc/service/web")]) as process:
        assert not check("web").is_passed
        process.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service": "etc/web"}, "service: 'etc/web' is no program's name. Write its name without folder."),
        ({"service": "web", "expect": "up"}, "expect: 'up' is not one of its values. "),
        ({"service": "w", "expect": "stopped", "minimum-age": 1}, "minimum-age, expect: a stopped service has no age."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_service_state", **options)
    assert str(caught.value).startswith(message)
