# SPDX-License-Identifier: Apache-2.0
"""The engine and its zygote: real processes, looked for by pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.engine import BuildEngine, InstanceRun

SLEEPER = """\
    [buildout]
    parts = t
    [t]
    recipe = allotment.recipes:template.jinja2
    inline = {{ subprocess.run(["sh", "-c", "echo $$ > pid; sleep 300"]) }}
    output = etc/t
    context = import subprocess subprocess
    """


ITS_PID = """\
    [buildout]
    parts = t
    [t]
    recipe = allotment.recipes:template.jinja2
    inline = {{ os.getpid() }}
    output = etc/pid
    context = import os os
    """


def wait_until(holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pid(path: Path) -> int:
    text = path.read_text() if path.exists() else ""
    return int(text) if text.strip() else 0


def zygote_pid(engine: BuildEngine) -> int:
    assert engine._connection is not None
    return engine._connection._process.pid


def spare_after(own: Any) -> int:
    """Do a run; return the process that waits for the next one. The one of this run may take a while to end."""
    assert own.run(ITS_PID).outcome == "done"
    zygote, ended = zygote_pid(own.engine), int(own.text("etc/pid"))
    children = Path(f"/proc/{zygote}/task/{zygote}/children")
    (spare,) = wait_until(lambda: [pid for pid in map(int, children.read_text().split()) if pid != ended])
    return spare


@pytest.fixture
def own(partition: Any) -> Iterator[Any]:
    """A partition with an engine of its own, which the test may break."""
    with BuildEngine() as engine:
        partition.engine = engine
        yield partition


def test_a_run_that_takes_too_long_is_stopped_with_all_it_started(own: Any) -> None:
    result = own.run(SLEEPER, timeout=1.0)
    assert (result.outcome, result.error) == ("failed", "it took more than 1 s and was stopped")
    pid = read_pid(own.folder / "pid")
    wait_until(lambda: not is_alive(pid))


def test_what_a_run_leaves_in_the_background_ends_with_it(own: Any) -> None:
    profile = SLEEPER.replace('"echo $$ > pid; sleep 300"', '"sleep 300 > /dev/null 2>&1 & echo $! > pid"')
    result = own.run(profile)
    assert result.outcome == "done"
    pid = read_pid(own.folder / "pid")
    wait_until(lambda: not is_alive(pid))


def test_runs_go_side_by_side(engine: BuildEngine, tmp_path: Path, partition: Any) -> None:
    partition.run(
        "[buildout]\nparts = t\n[t]\nrecipe = allotment.recipes:template.jinja2\ninline = x\noutput = etc/t\n"
    )
    given = (partition.folder / ".allotment/instance.json").read_bytes()
    folders = [tmp_path / f"p{number}" for number in range(16)]
    for folder in folders:
        (folder / ".allotment").mkdir(parents=True)
        (folder / ".allotment/instance.json").write_bytes(given)
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda folder: engine.instance(InstanceRun(partition.software, folder), folder / "log"), folders)
        )
    assert {result.outcome for result in results} == {"done"}
    assert all((folder / "etc/t").read_text() == "x" for folder in folders)


def test_an_engine_that_is_closed_leaves_no_process(own: Any) -> None:
    spare = spare_after(own)
    pid = zygote_pid(own.engine)
    own.engine.close()
    assert not is_alive(pid)
    wait_until(lambda: not is_alive(spare))
    assert own.run().outcome == "done", "and starts again when it is needed"


def test_a_process_that_is_killed_while_it_waits_for_a_run_is_replaced(own: Any) -> None:
    spare = spare_after(own)
    os.kill(spare, signal.SIGKILL)
    wait_until(lambda: not is_alive(spare))
    assert spare_after(own) != spare


def test_a_zygote_that_is_killed_takes_the_process_along_that_waits(own: Any) -> None:
    spare = spare_after(own)
    os.kill(zygote_pid(own.engine), signal.SIGKILL)
    wait_until(lambda: not is_alive(spare))


def test_the_zygote_ends_when_nothing_is_wanted_and_comes_back(partition: Any) -> None:
    with BuildEngine(idle=0.1) as engine:
        partition.engine = engine
        partition.run("[buildout]\nparts =\n")
        pid = zygote_pid(engine)
        wait_until(lambda: not is_alive(pid))
        assert partition.run().outcome == "done"


def test_a_recipe_that_can_not_be_imported_is_named_and_stops_nothing_else(
    own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    metadata = tmp_path / "allotment_recipes-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: allotment.recipes\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[zc.buildout]\nbroken = broken_recipe:Recipe\n")
    (tmp_path / "broken_recipe.py").write_text("def\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    template = "recipe = allotment.recipes:template\ninline = x\noutput = x\n"
    assert own.run(f"[buildout]\nparts = t\n[t]\n{template}").error == ""
    said = capfd.readouterr().err
    assert "recipe allotment-recipes:broken can't be imported: SyntaxError: " in said
    assert "Traceback (most recent call last)" in said
    result = own.run("[buildout]\nparts = b\n[b]\nrecipe = allotment.recipes:broken\n")
    assert result.error.startswith("[b] recipe: allotment.recipes:broken can't be imported: invalid syntax")


def test_a_zygote_that_is_killed_fails_the_run_and_not_the_engine(own: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own.run, SLEEPER)
        pid = wait_until(lambda: read_pid(own.folder / "pid"))
        os.kill(zygote_pid(own.engine), signal.SIGKILL)
        with pytest.raises(Exception, match="the build process ended in the middle of the run"):
            waiting.result(60)
    os.kill(pid, signal.SIGKILL)  # what the run itself had started
    assert own.run("[buildout]\nparts =\n").outcome == "done"


def test_nothing_is_left_when_the_parent_is_killed(partition: Any, tmp_path: Path) -> None:
    partition.run("[buildout]\nparts =\n")
    (partition.software / "instance.cfg").write_text("\n".join(line.strip() for line in SLEEPER.splitlines()))
    code = (
        "import sys\nfrom pathlib import Path\nfrom allotment_recipes.engine import *\nengine = BuildEngine()\n"
        "engine._connected()\nPath(sys.argv[1]).write_text(str(engine._connection._process.pid))\n"
        "engine.instance(InstanceRun(Path(sys.argv[2]), Path(sys.argv[3])), Path(sys.argv[4]))\n"
    )
    arguments = [str(tmp_path / "zygote"), str(partition.software), str(partition.folder), str(tmp_path / "log")]
    parent = subprocess.Popen([sys.executable, "-c", code, *arguments])
    pid = wait_until(lambda: read_pid(partition.folder / "pid"))
    parent.kill()
    parent.wait(60)
    wait_until(lambda: not is_alive(read_pid(tmp_path / "zygote")))
    wait_until(lambda: not is_alive(pid))


def test_a_run_sees_no_secret_of_its_parent(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOTMENT_TOKEN", "sesame-street")
    own.run(
        """\
        [buildout]
        parts = t
        [t]
        recipe = allotment.recipes:template.jinja2
        inline = {{ os.environ | list | sort | join(" ") }}
        output = etc/t
        context = import os os
        """
    )
    assert "ALLOTMENT_TOKEN" not in own.text("etc/t").split()
    assert "PATH" in own.text("etc/t").split()


def test_a_run_has_nothing_open_of_the_zygote_or_of_another_run(own: Any, tmp_path: Path) -> None:
    profile = """\
        [buildout]
        parts = t
        [t]
        recipe = allotment.recipes:template.jinja2
        inline = {% for path in glob.glob("/proc/self/fd/[1-9]*") %}{{ os.path.realpath(path) }} {% endfor %}
        output = etc/t
        context =
          import os os
          import glob glob
        """
    other = tmp_path / "other"
    (other / ".allotment").mkdir(parents=True)
    own.run(profile)
    (other / ".allotment/instance.json").write_bytes((own.folder / ".allotment/instance.json").read_bytes())
    sleeper = tmp_path / "sleeper"
    sleeper.mkdir()
    (sleeper / "instance.cfg").write_text("\n".join(line.strip() for line in SLEEPER.splitlines()))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own.engine.instance, InstanceRun(sleeper, other), other / "log")
        wait_until(lambda: read_pid(other / "pid"))
        own.run(profile)  # while the other one is at work: its process was forked before or beside it
        own.run(profile)  # and its process was forked meanwhile
        found = own.text("etc/t").split()
        own.engine.close()
        with pytest.raises(AllotmentError):
            waiting.result(60)
    assert [name for name in found if "socket:" in name or "eventpoll" in name] == []
    assert sum("pipe:" in name for name in found) <= 1, "where its own result goes"
    assert [name for name in found if str(other) in name] == []


def test_a_partition_without_input_is_named(engine: BuildEngine, tmp_path: Path) -> None:
    result = engine.instance(InstanceRun(tmp_path, tmp_path), tmp_path / "log")
    assert result.error == f"{tmp_path}/.allotment/instance.json does not exist. The node writes it before the run."


def test_an_input_of_another_version_is_refused(engine: BuildEngine, tmp_path: Path) -> None:
    (tmp_path / ".allotment").mkdir()
    (tmp_path / ".allotment/instance.json").write_text('{"format": 2}')
    result = engine.instance(InstanceRun(tmp_path, tmp_path), tmp_path / "log")
    assert "has format 2; allotment" in result.error
    assert "reads format 1" in result.error


def test_a_profile_that_is_missing_is_named(partition: Any) -> None:
    assert partition.run().error == f"Couldn't open {partition.software}/instance.cfg"


def test_a_zygote_that_can_not_start_is_an_error(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(AllotmentError, match=r"^the build process ends at once\. See .*run\.log"):
        own.run("[buildout]\nparts =\n")


def test_a_program_that_a_recipe_starts_can_be_interrupted(own: Any) -> None:
    profile = SLEEPER.replace('"echo $$ > pid; sleep 300"', '"kill -INT $$; echo deaf > deaf"')
    assert own.run(profile).outcome == "done"
    assert not (own.folder / "deaf").exists()


def test_a_long_log_is_begun_anew(own: Any) -> None:
    own.run("[buildout]\nparts =\n")
    own.log.write_bytes(b"x" * (17 << 20))
    own.run()
    assert own.log.stat().st_size < 1 << 20


def test_two_runs_in_one_partition_do_not_meet(own: Any, kill_runs: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(own.run, SLEEPER, 600.0)
        wait_until(lambda: read_pid(own.folder / "pid"))
        assert own.run().error == f"another run is at work in {own.folder}/.allotment. Wait until it has ended."
        kill_runs()
        assert first.result(60).error == "the run's process ended with signal 9"
    assert own.run("[buildout]\nparts =\n").outcome == "done", "the lock goes with its process"


def test_an_instance_does_not_see_the_way_to_the_network(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:word@127.0.0.1/")
    monkeypatch.setenv("https_proxy", "http://user:word@127.0.0.1/")
    monkeypatch.setenv("ALLOTMENT_SOURCE_SERVERS", "http://127.0.0.1:1/")
    own.run(
        """\
        [buildout]
        parts = t
        [t]
        recipe = allotment.recipes:template.jinja2
        inline = {{ os.environ | list | sort | join(" ") }} servers: {{ os.environ.ALLOTMENT_SOURCE_SERVERS }}
        output = etc/t
        context = import os os
        """
    )
    assert own.text("etc/t").strip().endswith(" servers: off"), "no source server is asked"
    assert "PIP_INDEX_URL" not in own.text("etc/t")
    assert "https_proxy" not in own.text("etc/t")
