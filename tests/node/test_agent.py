# SPDX-License-Identifier: Apache-2.0
"""The agent as a whole: masters that are away, agents that are killed, passes over many partitions."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment.codec import dumps
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedState
from allotment.messages.instance import InstanceState
from allotment_node.addresses import AddressBlock
from allotment_node.agent import make_supervisor
from allotment_node.config import dump
from allotment_node.partition import input_hash
from allotment_node.supervisor import read_services

Make = Callable[..., Any]


def test_the_node_works_on_without_a_master_and_reports_later(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make
) -> None:
    engines.promises["part0"] = {"up": ("passed", "")}
    agent = make_agent()
    agent.start()
    master.set(document())
    until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.GREEN)
    agent.close()
    master.away = True
    engines.runs.clear()
    agent = make_agent(settle=0.0)
    master.away = True
    engines.promises["part0"] = {"up": ("failed", "down")}
    reports = len(master.reports)
    agent.start()
    until(lambda: agent.observations.instance("part0").status is InstanceStatus.RED)
    assert len(master.reports) == reports
    assert engines.runs == []
    master.away = False
    until(lambda: master.last("part0").status is InstanceStatus.RED)


def test_a_change_at_the_master_is_being_processed_within_a_second(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make
) -> None:
    agent = make_agent()
    agent.start()
    master.set(document())
    until(lambda: engines.runs == ["part0"])

    def change(number: int) -> float:
        """Return how many seconds it took until the change was being processed."""
        began = time.monotonic()
        master.set(document(generation=number, parameters={"n": number}))
        until(lambda: len(engines.runs) == number)
        return time.monotonic() - began

    assert any(change(number) < 1.0 for number in range(2, 7))  # not each time: the machine may be busy


def test_a_pass_over_a_hundred_unchanged_partitions_is_quick_and_starts_nothing(
    make_agent: Make, master: Any, engines: Any, document: Make, tell: Make
) -> None:
    names = [f"part{number}" for number in range(100)]
    master.set(*(document(partition=name, instance=f"inst-{name}") for name in names))
    assert make_agent(partitions=100).run_once(("software", "partition"), 60.0)
    assert len(engines.runs) == 100
    agent = make_agent(partitions=100)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    began = time.monotonic()
    assert agent.run_once(("software", "partition"), 60.0)
    took = time.monotonic() - began
    assert len(engines.runs) == 100
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before
    assert took < 3.0  # the budget of 0.3 s is held by a benchmark: here the machine may be busy


def test_a_release_that_can_t_be_installed_is_not_tried_in_a_hurry(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make
) -> None:
    engines.build_error = "[zlib] make failed"
    agent = make_agent()
    agent.start()
    master.set(document())
    seen = until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.FAILED and last)
    assert seen.error.startswith("its release is not installed: hello can't be installed: [zlib] make failed")
    assert len(engines.builds) == 1
    engines.build_error = ""
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    assert len(engines.builds) == 2


def start_agent(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "allotment_node", "run", "--folder", str(folder)])


@pytest.fixture
def stored(node_folder: Any, config: Any, manifest: Any, document: Make, write_service: Make) -> Callable[[str], Path]:
    """A node folder with one processed instance, whose master is away."""

    def make(services: str) -> Path:
        node_folder.config.write_text(dump(dataclasses.replace(config, services=services)))
        node_folder.token.write_text("token\n")
        block = AddressBlock(node_folder.state / "addresses.json")
        block.close()
        wanted = document()
        inputs = input_hash(wanted, (block.address("part0"),))
        (node_folder.desired / "part0.json").write_bytes(dumps(wanted))
        seen = ObservedInstance("part0", wanted.instance, 1, InstanceStatus.GREEN)
        (node_folder.observed / "part0.json").write_bytes(dumps(ObservedState(instances=(seen,))))
        record = {"inputs": inputs, "outcome": "done", "format": 1}
        (node_folder.processed / "part0.json").write_text(json.dumps(record))
        home = node_folder.partition("part0")
        home.mkdir()
        write_service(home, body="sleep 1000 & exec sleep 1000")

        supervisor = make_supervisor(node_folder, dataclasses.replace(config, services="detached"))
        supervisor.apply("part0", read_services(home))
        pid = int((node_folder.supervisor / "supervisord.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        psutil.Process(pid).wait(20)
        return Path(node_folder.root)

    return make


def sleepers(pids: Make, folder: Path) -> set[int]:
    return {
        pid for pid in pids(folder / "partitions") if psutil.pid_exists(pid) and psutil.Process(pid).name() == "sleep"
    }


def test_a_killed_agent_leaves_detached_services_and_the_next_one_adopts_them(
    stored: Make, until: Make, pids: Make
) -> None:
    folder = stored("detached")
    first = start_agent(folder)
    until((folder / "node.json").exists)
    before = until(lambda: len(found := sleepers(pids, folder)) == 2 and found)
    first.kill()
    first.wait(10)
    second = start_agent(folder)
    ready = folder / "node.json"
    until(lambda: ready.exists() and json.loads(ready.read_bytes())["pid"] == second.pid)
    assert sleepers(pids, folder) == before
    second.terminate()
    assert second.wait(20) == 0
    assert not (folder / "node.json").exists()
    assert sleepers(pids, folder) == before


def test_partitions_are_used_again_and_again_without_a_pause(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make, write_service: Make
) -> None:
    engines.recipes = lambda folder, given: write_service(folder) and None
    agent = make_agent()
    agent.start()
    names = ("part0", "part1", "part2")
    for turn in range(5):
        for state, status in ((InstanceState.STARTED, "green"), (InstanceState.DESTROYED, "destroyed")):
            generation = 2 * turn + (1 if status == "green" else 2)
            master.set(
                *(
                    document(partition=name, generation=generation, instance=f"{name}-{turn}", state=state)
                    for name in names
                )
            )
            for name in names:
                until(lambda name=name, at=(generation, status): (last := master.last(name)) and
                      (last.generation, last.status) == at)  # fmt: skip
            running = [item.partition for item in agent.supervisor.states() if item.pid]
            assert sorted(running) == (list(names) if status == "green" else [])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_attached_services_end_with_the_agent_however_it_ends(
    stored: Make, until: Make, pids: Make, how: signal.Signals
) -> None:
    folder = stored("attached")
    agent = start_agent(folder)
    until(lambda: len(sleepers(pids, folder)) == 2)
    agent.send_signal(how)
    agent.wait(30)
    until(lambda: not pids(folder), 30)
    if how is signal.SIGTERM:
        assert agent.returncode == 0


def test_a_second_agent_on_the_folder_is_refused_with_the_pid_of_the_first(stored: Make, until: Make) -> None:
    folder = stored("attached")
    first = start_agent(folder)
    until((folder / "node.json").exists)
    second = subprocess.run(
        [sys.executable, "-m", "allotment_node", "run", "--folder", str(folder)], capture_output=True, timeout=30
    )
    assert second.returncode == 1
    assert second.stderr.decode().splitlines()[-1] == (
        f"error: {folder} is in use by process {first.pid}. "
        f"Stop that process first (kill {first.pid}), or give another --folder."
    )
    first.terminate()
    assert first.wait(30) == 0


def stop_node(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "allotment_node", "stop", "--folder", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("services", ["detached", "attached"])
def test_a_stopped_node_leaves_no_process_and_goes_on_later(
    stored: Make, until: Make, pids: Make, services: str
) -> None:
    folder = stored(services)
    agent = start_agent(folder)
    until(lambda: (folder / "node.json").exists() and len(sleepers(pids, folder)) == 2)
    stopped = stop_node(folder)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.splitlines() == [
        f"node-1: the agent, process {agent.pid}, has ended",
        "node-1: ended part0.sleeper" if services == "detached" else "node-1: no service was running any more",
    ]
    assert agent.wait(10) == 0
    assert not pids(folder)
    again = start_agent(folder)
    until(lambda: (folder / "node.json").exists() and len(sleepers(pids, folder)) == 2)
    assert stop_node(folder).returncode == 0
    assert again.wait(10) == 0


def test_stop_ends_the_services_that_a_killed_agent_has_left(stored: Make, until: Make, pids: Make) -> None:
    folder = stored("detached")
    agent = start_agent(folder)
    until(lambda: (folder / "node.json").exists() and len(sleepers(pids, folder)) == 2)
    agent.kill()
    agent.wait(10)
    assert stop_node(folder).stdout.splitlines() == [
        "node-1: no agent was running",
        "node-1: ended part0.sleeper",
    ]
    assert not pids(folder)
    assert not (folder / "node.json").exists()
    assert stop_node(folder).stdout.splitlines()[1] == "node-1: no service was running any more"


def test_stop_says_when_the_agent_does_not_end(node_folder: Any, config: Any) -> None:
    node_folder.config.write_text(dump(config))
    hold = (
        "import signal, sys; from pathlib import Path; from allotment_node.folder import NodeFolder\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with NodeFolder(Path(sys.argv[1])).lock: print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(node_folder.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        stopped = stop_node(node_folder.root, "--timeout", "0.2")
        holder.kill()
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr == (
        f"error: the agent, process {holder.pid}, has not ended within 0.2 s. "
        f"Give it longer with --timeout, or end it with 'kill -9 {holder.pid}' and run this again.\n"
    )
