# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allotment.messages.job import BuiltPart, Outcome

PYTHON = sys.executable
SLEEP = "import sys, time; print('up', flush=True); time.sleep(600)"
UNTIL = """
import os, sys, time
print('up', flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


def python(program: str, *arguments: str) -> list[str]:
    return [PYTHON, "-c", program, *arguments]


def test_job_runs_on_the_revisions_files(engine: Any, node: Any) -> None:
    engine.files = {"run.sh": b"#!/bin/sh\necho the script ran\n"}
    node.start()
    engine.submit(["./run.sh"])
    result = engine.result()
    assert (result.outcome, result.reason, result.fencing) == (Outcome.PASSED, "", 1)
    assert [(step.name, step.outcome) for step in result.steps] == [("command", Outcome.PASSED)]
    assert b"the script ran\n" in engine.log
    assert engine.steps[-1].steps == result.steps
    hello = engine.hellos[0]
    assert (hello["name"], hello["slots"]) == ("t1", 1)


def test_failing_command_is_a_failed_job(engine: Any, node: Any) -> None:
    node.start()
    engine.submit(python("import sys; sys.exit(3)"))
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.FAILED, f"{PYTHON} ended with 3")


def test_heartbeats_carry_the_machines_figures(engine: Any, node: Any) -> None:
    node.start()
    engine.submit(python(SLEEP))
    heartbeat = engine.wait_for(lambda: engine.heartbeats)[0]
    assert heartbeat["fencing"] == 1
    assert heartbeat["memory_free"] > 0
    assert heartbeat["disk_free"] > 0


def test_job_that_never_ends_is_timed_out(engine: Any, node: Any, marker: str, marked: Callable[[], list[int]]) -> None:
    node.start()
    engine.submit(python(SLEEP, marker), timeout=15.0)  # also for the job's process to start
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "did not end within 15 s")
    assert [(step.name, step.outcome) for step in result.steps] == [("command", Outcome.TIMED_OUT)]
    assert result.steps[0].ended is not None
    assert marked() == []


def test_fork_bomb_fails_and_the_test_node_lives(
    engine: Any, node: Any, marker: str, marked: Callable[[], list[int]]
) -> None:
    node.start()
    engine.submit(python("import os, time\nfor _ in range(11): os.fork()\ntime.sleep(600)", marker))  # 2048 of them
    result = engine.result(120)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "had more than 1024 processes at a time")
    assert [(step.name, step.outcome) for step in result.steps] == [("command", Outcome.FAILED)]
    assert marked() == []
    engine.submit(python("pass"))
    engine.wait_for(lambda: len(engine.results) == 2)
    assert engine.results[1].outcome == Outcome.PASSED


def test_job_that_takes_too_much_memory_is_ended_and_tried_elsewhere(engine: Any, node: Any) -> None:
    node.start("--job-memory", "300M")
    engine.submit(python("import time\nheld = bytearray(b'x' * 400_000_000)\ntime.sleep(600)"))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == "used more than 300.0 MB of memory, which is all that this test node gives a job"
    engine.submit(python("pass"))
    engine.wait_for(lambda: len(engine.results) == 2)
    assert engine.results[1].outcome == Outcome.PASSED


def test_daemon_that_ignores_signals_ends_with_its_job(
    engine: Any, node: Any, marker: str, marked: Callable[[], list[int]]
) -> None:
    deaf = "import signal\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\n"
    daemon = f"import os\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n  {SLEEP}"
    node.start()
    engine.submit(python(deaf + daemon + "\nos.wait()", marker))
    assert engine.result().outcome == Outcome.PASSED
    assert marked() == []


def test_killed_test_node_takes_the_job_along(
    engine: Any, node: Any, marker: str, marked: Callable[[], list[int]], within: Callable[..., bool]
) -> None:
    daemon = f"import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n{SLEEP}"
    node.start()
    engine.submit(python(daemon, marker))
    engine.wait_for(lambda: engine.log.count(b"up") == 2)
    assert within(60, lambda: len(marked()) == 2)  # what stood between them ends
    node.signal(signal.SIGKILL)
    node.wait()
    assert within(60, lambda: marked() == [])  # one second where nothing else runs
    assert engine.results == []


def test_scratch_folder_of_a_killed_test_node_is_removed_at_the_next_start(
    engine: Any, node: Any, within: Callable[..., bool]
) -> None:
    node.start()
    engine.submit(python(SLEEP))
    engine.wait_for(lambda: b"up" in engine.log)
    assert [path.name for path in (node.folder / "jobs").iterdir()] == ["1-1"]
    assert len(list(node.folder.parent.glob("job-*"))) == 1
    node.signal(signal.SIGKILL)
    node.wait()
    node.start()
    assert within(60, lambda: not list((node.folder / "jobs").iterdir()))
    assert list(node.folder.parent.glob("job-*")) == []


def test_ready_file_is_there_while_it_runs(engine: Any, node: Any, within: Callable[..., bool]) -> None:
    node.start()
    ready = node.folder / "test-node.json"
    assert within(60, ready.exists)
    assert f'"url": "{engine.url}"' in ready.read_text()
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert not ready.exists()


def test_stopped_test_node_gives_the_job_back(engine: Any, node: Any, marker: str, marked: Any) -> None:
    node.start("--grace", "0.1")
    engine.submit(python(SLEEP, marker))
    engine.wait_for(lambda: b"up" in engine.log)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.INFRASTRUCTURE, "test node t1 was stopped")
    assert marked() == []


def test_stopped_test_node_lets_a_short_job_end(engine: Any, node: Any) -> None:
    go = node.folder.with_name("go")
    node.start("--grace", "600")
    engine.submit(python(UNTIL, str(go)))
    engine.wait_for(lambda: b"up" in engine.log)
    node.signal(signal.SIGTERM)
    engine.wait_for(lambda: engine.requests[-1]["refuses"] == "is stopping")
    go.touch()
    assert node.wait() == 0
    assert engine.result().outcome == Outcome.PASSED


def test_test_node_that_is_told_twice_to_stop_gives_the_job_back_at_once(
    engine: Any, node: Any, marker: str, marked: Any
) -> None:
    node.start("--grace", "600")
    engine.submit(python(SLEEP, marker))
    engine.wait_for(lambda: b"up" in engine.log)
    node.signal(signal.SIGTERM)
    engine.wait_for(lambda: engine.requests[-1]["refuses"] == "is stopping")
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert engine.result().reason == "test node t1 was stopped"
    assert marked() == []


def test_stopping_test_node_takes_no_other_job(engine: Any, node: Any) -> None:
    go = node.folder.with_name("go")
    node.start("--grace", "600")
    engine.submit(python(UNTIL, str(go)))
    engine.wait_for(lambda: b"up" in engine.log)
    node.signal(signal.SIGTERM)
    engine.wait_for(lambda: engine.requests[-1]["refuses"] == "is stopping")
    engine.submit(python("pass"))
    go.touch()
    assert node.wait() == 0
    assert [result.outcome for result in engine.results] == [Outcome.PASSED]


def test_wanted_space_that_is_no_size_is_a_usage_error(engine: Any, node: Any) -> None:
    node.start("--disk-wanted", "much")
    assert node.wait() == 2
    assert "'much' is no size. Write it like 2G, 512M or 1.5GiB." in node.log.read_text()


def test_cancelled_job_is_killed(engine: Any, node: Any, marker: str, marked: Callable[[], list[int]]) -> None:
    node.start()
    engine.submit(python(SLEEP, marker))
    engine.wait_for(lambda: b"up" in engine.log)
    engine.cancelled.add(1)
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.CANCELLED, "cancelled")
    assert marked() == []


def test_lost_lease_kills_the_job_and_says_nothing_more(
    engine: Any, node: Any, marker: str, marked: Callable[[], list[int]], within: Callable[..., bool]
) -> None:
    node.start()
    engine.submit(python(SLEEP, marker))
    engine.wait_for(lambda: b"up" in engine.log)
    engine.lost.add(1)
    assert within(60, lambda: marked() == [])
    engine.submit(python("print('second')"))
    engine.wait_for(lambda: engine.results)
    assert [result.fencing for result in engine.results] == [2]


def test_connections_cut_while_streaming_leave_the_log_whole(engine: Any, node: Any) -> None:
    engine.drop_log_answers = 4
    node.start()
    engine.submit(python("import time\nfor n in range(40):\n  print('line', n, flush=True); time.sleep(0.03)"))
    assert engine.result().outcome == Outcome.PASSED
    lines = [line for line in engine.log.decode().splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(40)]


def test_engine_that_lost_the_end_of_its_log_gets_it_again(engine: Any, node: Any) -> None:
    node.start()
    engine.submit(python("import time\nfor n in range(40):\n  print('line', n, flush=True); time.sleep(0.03)"))
    engine.wait_for(lambda: b"line 10" in engine.log)
    engine.kept_log_bytes = 20
    assert engine.result().outcome == Outcome.PASSED
    lines = [line for line in engine.log.decode().splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(40)]


def test_job_survives_a_restart_of_the_engine(engine: Any, node: Any) -> None:
    node.start()
    engine.submit(python("import time\nfor n in range(40):\n  print('line', n, flush=True); time.sleep(0.05)"))
    engine.wait_for(lambda: b"line 5\n" in engine.log)
    engine.stop()
    engine.refuse_all = True
    engine.start()
    time.sleep(0.5)  # the outage itself
    engine.refuse_all = False
    assert engine.result().outcome == Outcome.PASSED
    lines = [line for line in engine.log.decode().splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(40)]


def test_revision_is_fetched_again_until_the_engine_is_back(engine: Any, node: Any) -> None:
    engine.cut_sources = 5
    node.start()
    engine.submit(python("pass"))
    assert engine.result().outcome == Outcome.PASSED


def test_heartbeat_on_a_dead_connection_does_not_cost_the_lease(engine: Any, node: Any) -> None:
    engine.stuck_heartbeats = 1
    node.start()
    engine.submit(python(SLEEP))
    engine.wait_for(lambda: engine.heartbeats)
    engine.wait_for(lambda: len(engine.heartbeats) > 1, 15)  # other calls wait for 20 s, as long as a lease


def test_test_node_started_before_the_engine_waits_for_it(engine: Any, node: Any, within: Callable[..., bool]) -> None:
    engine.stop()
    node.start()
    assert within(60, lambda: node.log.exists() and "did not answer" in node.log.read_text())
    engine.start()
    engine.submit(python("pass"))
    assert engine.result().outcome == Outcome.PASSED


def test_wrong_token_is_an_error(engine: Any, node: Any) -> None:
    node._token.write_text("wrong")
    node.start()
    assert node.wait() == 1
    assert node.log.read_text().splitlines()[-1] == "error: wrong token. Give the right one."


def test_second_test_node_on_a_folder_is_refused(engine: Any, node: Any, within: Callable[..., bool]) -> None:
    node.start()
    assert within(60, (node.folder / "test-node.json").exists)
    first = node._process
    node.start()
    assert node.wait() == 1
    node._process = first
    expected = (
        f"error: {node.folder} is in use by process {first.pid}. "
        f"Stop that process first (kill {first.pid}), or give another --folder."
    )
    assert node.log.read_text().splitlines()[-1] == expected


def test_hostile_source_is_the_infrastructures_fault(engine: Any, node: Any, within: Callable[..., bool]) -> None:
    engine.files = {"../escape": b""}
    node.start()
    engine.submit(python("pass"))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == (
        f"the job could not be prepared: the archive of revision {'0' * 40}: "
        "'../escape' is not a relative path inside it. Nothing of it was unpacked."
    )
    assert within(60, lambda: not (node.folder / "jobs/1-1").exists())


def test_source_that_is_no_tar_is_the_infrastructures_fault(engine: Any, node: Any) -> None:
    engine.archive = b"<html>"
    node.start()
    engine.submit(python("pass"))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason.startswith("the job could not be prepared: the archive of revision 000000")
    assert " is not an archive: " in result.reason


def test_full_disk_is_the_infrastructures_fault(engine: Any, node: Any) -> None:
    engine.files = {"large": b"x" * 4_000_000}
    node.start(largest_file=2_000_000)
    engine.submit(python("pass"))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == "the job could not be prepared: [Errno 27] File too large"


def test_disk_that_is_full_of_log_ends_the_job_and_is_the_infrastructures_fault(engine: Any, node: Any) -> None:
    node.start(largest_file=2_000_000)
    engine.submit(python("import time; print('x' * 4_000_000, flush=True); time.sleep(600)"))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == "the job's output can't be kept: [Errno 27] File too large"


def test_list_of_secrets_that_can_not_be_read_ends_the_job(engine: Any, node: Any) -> None:
    node.start()
    program = "import os, time; os.mkdir('../report/secrets.jsonl'); print('a secret', flush=True); time.sleep(600)"
    engine.submit(python(program))
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason.startswith("the job's output can't be kept: ")
    assert result.reason.endswith("secrets.jsonl is not a regular file. Remove it.")
    assert b"a secret" not in engine.log


def test_secret_in_the_name_of_a_step_or_part_stays_here(engine: Any, node: Any) -> None:
    node.start()
    parts = '[{"name": "zlib", "version": "planted-81732", "started": 1, "seconds": 2}]'
    steps = '[{"name": "use planted-81732", "started": 1}]'
    report = f'{{"format": 1, "fencing": 0, "steps": {steps}, "parts": {parts}}}'
    program = (
        "import time\n"
        "open('../report/secrets.jsonl', 'a').write('\"planted-81732\"\\n')\n"
        f"open('../report/steps.json', 'w').write({report!r})\n"
        "time.sleep(600)"
    )
    engine.submit(python(program))
    engine.wait_for(lambda: any("use" in step.name for report in engine.steps for step in report.steps))
    assert engine.steps[-1].steps[0].name == "use <secret>"
    assert engine.steps[-1].parts == (BuiltPart("zlib", "<secret>", 1, 2),)


def test_result_that_the_engine_can_not_take_is_replaced(engine: Any, node: Any) -> None:
    engine.refuse_results_over = 300
    node.start()
    engine.submit(["x" * 200])
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == "the engine refused the result: the body is too large. Send less."


def test_killed_guard_does_not_save_what_it_guarded(
    engine: Any, node: Any, marker: str, marked: Callable[[], list[int]]
) -> None:
    daemon = f"import os, sys\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n{SLEEP}"
    node.start()
    engine.submit(python(daemon, marker))
    engine.wait_for(lambda: engine.log.count(b"up") == 2)
    job_process = int(Path(f"/proc/{min(marked())}/stat").read_text().rpartition(")")[2].split()[1])
    guard = int(Path(f"/proc/{job_process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.INFRASTRUCTURE, "the job's guard was killed")
    assert marked() == []


def test_odd_characters_do_not_stop_a_result(engine: Any, node: Any) -> None:
    engine.submit(["caf\u00e9-\U0001f600"])
    node.start()
    assert engine.result().reason.startswith("caf\u00e9-\U0001f600 can't be run")


def test_unknown_job_kind_is_the_infrastructures_fault(engine: Any, node: Any) -> None:
    node.start()
    engine.submit([], kind="relase")
    result = engine.result()
    assert result.outcome == Outcome.INFRASTRUCTURE
    assert result.reason == "unknown job kind 'relase'. Did you mean 'release'? Valid: command, from-scratch, release."


def test_job_process_that_dies_is_the_infrastructures_fault(engine: Any, node: Any) -> None:
    node.start()
    engine.submit(python("import os, signal; os.kill(os.getppid(), signal.SIGKILL)"))
    result = engine.result()
    assert (result.outcome, result.reason) == (Outcome.INFRASTRUCTURE, "the job process ended with 137 and no result")


def test_jobs_run_side_by_side_in_their_slots(engine: Any, node: Any) -> None:
    """Each of them waits for the other one."""
    node.start("--slots", "2")
    mine, other = (str(node.folder.with_name(name)) for name in ("one", "other"))
    for paths in ((mine, other), (other, mine)):
        engine.submit(python(f"import sys; open(sys.argv[2], 'w').close(){UNTIL}", *paths))
    engine.wait_for(lambda: len(engine.results) == 2)
    assert [result.outcome for result in engine.results] == [Outcome.PASSED] * 2


def test_no_secret_leaves_the_test_node(engine: Any, node: Any) -> None:
    """The token of the wire is not even within the job's reach."""
    node.start()
    program = "import os, pathlib\nprint(dict(os.environ))\nprint(pathlib.Path('/proc/self/cmdline').read_text())"
    engine.submit(python(program))
    assert engine.result().outcome == Outcome.PASSED
    assert b"wire-token-0123456789" not in engine.log
