# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment.errors import AllotmentError
from allotment_node.supervisor import ServiceStatus, SupervisorOptions, read_services
from allotment_node.supervisord import Supervisord
from allotment_node.supervisord_rpc import socket_path

Until = Callable[..., Any]


@pytest.fixture
def options(scratch: Path) -> SupervisorOptions:
    folders = {name: scratch / "a node" / name for name in ("sv", "partitions", "usage", "logs")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return SupervisorOptions(
        folders["sv"],
        folders["partitions"],
        folders["usage"],
        folders["logs"],
        capacity=4,
        limits={"nofile": 100},
        attached=False,
    )


@pytest.fixture
def supervisord(options: SupervisorOptions) -> Iterator[Supervisord]:
    made = Supervisord(options)
    yield made
    pid_file = options.folder / "supervisord.pid"
    if pid_file.exists() and made.states() is not None:
        for partition in ("part0", "part1"):
            made.remove(partition)
        process = psutil.Process(int(pid_file.read_text()))
        process.terminate()
        process.wait(20)


def running(supervisord: Supervisord) -> dict[str, int]:
    return {
        item.name: item.pid
        for item in supervisord.states()
        if item.pid and item.status in (ServiceStatus.RUNNING, ServiceStatus.STARTING)
    }


def test_nothing_is_started_when_nothing_is_wanted(supervisord: Supervisord, options: SupervisorOptions) -> None:
    supervisord.start()
    assert supervisord.states() == []
    assert not (options.folder / "supervisord.pid").exists()


def test_only_the_changed_service_is_started_anew(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    write_service(home, "kept")
    write_service(home, "changed")
    write_service(home, "dropped")
    supervisord.apply("part0", read_services(home))
    before = until(lambda: len(running(supervisord)) == 3 and running(supervisord))
    write_service(home, "changed", "exec sleep 2000")
    write_service(home, "added")
    (home / "etc" / "service" / "dropped").unlink()
    supervisord.apply("part0", read_services(home))
    after = until(lambda: len(running(supervisord)) == 3 and running(supervisord))
    assert set(after) == {"kept", "changed", "added"}
    assert after["kept"] == before["kept"]
    assert after["changed"] != before["changed"]
    supervisord.apply("part0", read_services(home))
    assert running(supervisord) == after


def test_a_program_of_etc_run_runs_once_at_each_processing(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    trace = options.folder / "trace"
    write_service(home, "prepare", f"echo ran >> '{trace}'", folder="run")
    for count in (1, 2):
        supervisord.apply("part0", read_services(home))
        until(lambda wanted=count: trace.exists() and trace.read_text().count("ran") == wanted)
        until(lambda: [item.status for item in supervisord.states()] == [ServiceStatus.ENDED])


def test_a_failed_program_of_etc_run_is_told(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    write_service(home, "prepare", "exit 3", folder="run")
    supervisord.apply("part0", read_services(home))
    found = until(lambda: [item for item in supervisord.states() if item.status is ServiceStatus.FAILED])
    assert found[0].detail == "exited with 3"


def test_a_killed_service_comes_back(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    write_service(home)
    supervisord.apply("part0", read_services(home))
    pid = until(lambda: running(supervisord).get("sleeper"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: running(supervisord).get("sleeper", pid) != pid)


def test_killing_supervisord_leaves_no_service(
    supervisord: Supervisord,
    options: SupervisorOptions,
    write_service: Callable[..., Path],
    until: Until,
    pids: Callable[[Path], set[int]],
) -> None:
    home = options.partitions / "part0"
    write_service(home, body="sleep 1000 & exec sleep 1000")
    supervisord.apply("part0", read_services(home))
    until(lambda: sum(psutil.Process(pid).name() == "sleep" for pid in pids(home)) == 2)
    os.kill(int((options.folder / "supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: not [pid for pid in pids(home) if psutil.pid_exists(pid)])
    supervisord.start()
    until(lambda: running(supervisord).get("sleeper"))


def test_another_process_of_the_node_adopts_what_runs(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    write_service(home)
    supervisord.apply("part0", read_services(home))
    before = until(lambda: running(supervisord))
    supervisord.close()
    second = Supervisord(options)
    second.start()
    second.apply("part0", read_services(home))
    assert running(second) == before


def test_a_change_that_was_written_and_not_loaded_is_loaded_later(
    supervisord: Supervisord, options: SupervisorOptions, write_service: Callable[..., Path], until: Until
) -> None:
    home = options.partitions / "part0"
    write_service(home)
    supervisord.apply("part0", read_services(home))
    until(lambda: running(supervisord))
    file = options.folder / "groups" / "part0.conf"
    before = file.read_text()
    write_service(home, "second")
    Supervisord(options).apply("part0", read_services(home))
    after = file.read_text()
    (home / "etc" / "service" / "second").unlink()
    Supervisord(options).apply("part0", read_services(home))
    assert file.read_text() == before
    file.write_text(after)  # as if an agent had been killed right here
    write_service(home, "second")
    Supervisord(options).apply("part0", read_services(home))
    until(lambda: len(running(supervisord)) == 2)


def test_a_load_that_was_interrupted_is_made_up_for(
    supervisord: Supervisord,
    options: SupervisorOptions,
    write_service: Callable[..., Path],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = options.partitions / "part0"
    write_service(home)
    supervisord.apply("part0", read_services(home))
    write_service(home, "second")
    call = supervisord._rpc.call

    def cut(method: str, *arguments: Any, **options: Any) -> Any:
        if method == "addProcessGroup":
            raise ConnectionError("supervisord went away")
        return call(method, *arguments, **options)

    monkeypatch.setattr(supervisord._rpc, "call", cut)
    with pytest.raises(ConnectionError):
        supervisord.apply("part0", read_services(home))
    monkeypatch.undo()
    supervisord.apply("part0", read_services(home))
    until(lambda: len(running(supervisord)) == 2)


def test_removed_services_have_ended_when_remove_returns(
    supervisord: Supervisord,
    options: SupervisorOptions,
    write_service: Callable[..., Path],
    until: Until,
    pids: Callable[[Path], set[int]],
) -> None:
    home = options.partitions / "part0"
    write_service(home)
    write_service(options.partitions / "part1")
    supervisord.apply("part0", read_services(home))
    supervisord.apply("part1", read_services(options.partitions / "part1"))
    until(lambda: len(supervisord.states()) == 2 and all(item.pid for item in supervisord.states()))
    until(lambda: "sleep" in [psutil.Process(pid).name() for pid in pids(home) if psutil.pid_exists(pid)])
    supervisord.remove("part0")
    assert not pids(home)
    assert [item.partition for item in supervisord.states()] == ["part1"]
    usage = json.loads((options.usage / "part0.sleeper.json").read_bytes())
    assert usage["runs"] == 1


def test_services_see_nothing_of_our_environment(
    supervisord: Supervisord,
    options: SupervisorOptions,
    write_service: Callable[..., Path],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_TOKEN", "planted")
    home = options.partitions / "part0"
    write_service(
        home,
        "show",
        f"cd '{options.folder}'; (env; ulimit -n) > env.new; mv env.new env; exec sleep 100",
    )
    supervisord.apply("part0", read_services(home))
    until((options.folder / "env").exists)
    text = (options.folder / "env").read_text()
    assert "planted" not in text
    assert f"HOME={home}" in text
    assert text.splitlines()[-1] == "100"


def test_a_long_folder_gets_a_short_private_socket(scratch: Path) -> None:
    folder = scratch / ("x" * 90)
    path = socket_path(folder)
    assert len(str(path)) < 90
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert socket_path(scratch / ("y" * 90)) != path


def test_a_service_with_a_strange_name_is_an_error(scratch: Path, write_service: Callable[..., Path]) -> None:
    path = write_service(scratch, "a b")
    with pytest.raises(AllotmentError) as error:
        read_services(scratch)
    assert str(error.value) == f"{path} is not a service's name. Use letters, digits, '-', '_' and '.'."
