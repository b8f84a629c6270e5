# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from allotment.atomic import write_bytes
from allotment.cli import main
from allotment.codec import dumps
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedPromise, ObservedState
from allotment.messages.promise import PromiseFile
from allotment_node.commands import promise_watch
from allotment_node.config import dump
from allotment_node.folder import NodeFolder
from allotment_node.survey import Survey
from allotment_promises.history import FOLDER, NAME

Make = Callable[..., Any]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def node(node_folder: NodeFolder, config: Any, document: Make) -> NodeFolder:
    """A node with one started partition, of whose promises the agent has judged ``page`` and a service."""
    node_folder.config.write_text(dump(config))
    (node_folder.desired / "part0.json").write_bytes(dumps(document()))
    judged = (
        ObservedPromise("page", "failed", "no page\nat all", 1000.0),
        ObservedPromise("service web", "failed", "ended with 1", 990.0),
    )
    seen = ObservedInstance("part0", document().instance, 1, InstanceStatus.RED, promises=judged)
    (node_folder.observed / "part0.json").write_bytes(dumps(ObservedState(instances=(seen,))))
    for name, file in {"page": "page", "disk": "."}.items():
        write(node_folder, name, PromiseFile("check_file_state", {"filename": file}, after=("disk",)))
    return node_folder


def write(node: NodeFolder, name: str, file: PromiseFile) -> None:
    folder = node.partition("part0") / "etc/promise"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_bytes(dumps(file))


@pytest.fixture
def run(node: NodeFolder, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``allot promise WORD ...`` on the node; return exit code, stdout and stderr."""

    def call(word: str, *arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["promise", word, "--folder", str(node.root), *arguments])
        except SystemExit as error:
            code = int(str(error.code))
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def test_list_shows_what_the_agent_has_judged(run: Run) -> None:
    lines = run("list")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["PROMISE", "part0/disk", "part0/page", "part0/service"]
    assert lines[1].split()[1:] == ["check_file_state", "60", "s", "unknown"]
    assert "failed" in lines[2]
    assert lines[2].endswith("no page")
    assert [line.split()[0] for line in run("list", "--broken")[1].splitlines()[1:]] == ["part0/page", "part0/service"]


def test_it_is_said_that_nobody_looks_any_more(run: Run, node: NodeFolder) -> None:
    for words in (["list"], ["explain"], ["explain", "page"]):
        assert run(*words)[2].startswith("no agent runs here: this is how things were when one did")
    assert run("list", "--json")[2] == ""
    with node.lock:
        assert run("list")[2] == run("explain")[2] == ""


def test_list_as_json_has_everything(run: Run) -> None:
    found = json.loads(run("list", "p*", "--json")[1])["promises"]
    assert [item["name"] for item in found] == ["page"]
    assert found[0] | {"instance": ""} == {
        "partition": "part0",
        "instance": "",
        "name": "page",
        "type": "check_file_state",
        "period": 60.0,
        "status": "failed",
        "since": 1000.0,
        "message": "no page\nat all",
        "silence": None,
    }


def test_a_promise_that_does_not_say_how_often_it_runs_is_listed_as_its_type_says(run: Run, node: NodeFolder) -> None:
    folder = node.partition("part0") / "etc/promise"
    for name, more in (("space", {}), ("often", {"period": 30})):
        (folder / f"{name}.json").write_text(json.dumps({"format": 1, "type": "monitor_partition_space", **more}))
    (folder / "unknown.json").write_text('{"format": 1, "type": "none"}')
    found = json.loads(run("list", "--json")[1])["promises"]
    periods = {item["name"]: item["period"] for item in found}
    assert [periods[name] for name in ("often", "space", "unknown")] == [30.0, 3600.0, 60.0]


def test_a_promise_is_found_by_the_names_of_its_partition_and_of_its_instance(run: Run) -> None:
    for pattern in ("part0/page", "hello/page", "hello/p*", "*/page"):
        assert [item["name"] for item in json.loads(run("list", pattern, "--json")[1])["promises"]] == ["page"]


def test_a_pattern_that_matches_nothing_is_told_with_the_nearest_name(run: Run) -> None:
    assert run("list", "part0/pgae")[0::2] == (
        1,
        "error: no promise matches 'part0/pgae'. Did you mean 'page'? Valid: disk, page, service web.\n",
    )


def test_run_makes_promises_now_beside_an_agent(run: Run, node: NodeFolder) -> None:
    with node.lock:
        code, output, _ = run("run", "disk", "page")
    assert code == 1
    assert output == "part0/disk passed . is not-empty\npart0/page failed page is absent, expected present\n"
    (node.partition("part0") / "page").touch()
    code, output, _ = run("run", "--phase", "anomaly", "--json", "page")
    assert code == 0
    assert [(item["promise"], item["status"]) for item in json.loads(output)["promises"]] == [("page", "passed")]


def test_a_promise_that_cannot_be_read_is_listed_with_its_problem(run: Run, node: NodeFolder) -> None:
    (node.partition("part0") / "etc/promise/odd.json").write_text("{")
    assert "etc/promise/odd.json" in run("list", "odd")[1]


def test_a_node_without_promises_says_so(run: Run, node: NodeFolder, document: Make, tmp_path: Path) -> None:
    (node.desired / "part0.json").write_bytes(dumps(document(state="stopped")))
    assert run("list")[1] == "No started partition has a promise.\n"


def test_watch_tells_each_change_until_it_is_interrupted(node: NodeFolder, until: Make, document: Make) -> None:
    words = [sys.executable, "-m", "allotment", "promise", "watch", "--folder", str(node.root), "--json", "page"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["status"] == "failed"
            judged = (ObservedPromise("page", "passed", "", 2000.0),)
            seen = ObservedInstance("part0", document().instance, 1, InstanceStatus.GREEN, promises=judged)
            write_bytes(node.observed / "part0.json", dumps(ObservedState(instances=(seen,))))
            assert json.loads(process.stdout.readline())["status"] == "passed"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_watch_shows_the_broken_ones_first_and_fits_the_terminal(node: NodeFolder) -> None:
    survey = Survey(node).promises()
    console = Console(width=100, file=io.StringIO())
    console.print(promise_watch._table(survey, 2, False))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].strip() == "2 broken of 3 promises, when an agent last ran"
    assert [line.split()[0] for line in lines[2:]] == ["part0/service", "part0/page", "part0/disk"]


def test_history_tells_streaks_uptime_and_metrics(run: Run, node: NodeFolder) -> None:
    run("run", "page")
    (node.partition("part0") / "page").touch()
    run("run", "page")
    told = json.loads(run("history", "page", "--json")[1])
    assert [item["state"] for item in told["streaks"]] == ["failed", "passed"]
    assert told["streaks"][0]["message"] == "page is absent, expected present"
    assert told["broken_since"] is None
    code, output, _ = run("history", "part0/page", "--days", "1")
    lines = output.splitlines()
    assert code == 0
    assert lines[0].startswith("part0/page was kept ")
    assert [line.split()[2] for line in lines[2:4]] == ["passed", "failed"]


def test_a_history_that_the_partitions_user_wrote_commands_no_terminal(run: Run, node: NodeFolder) -> None:
    run("run", "page")
    with contextlib.closing(sqlite3.connect(node.partition("part0") / FOLDER / NAME)) as database:
        evil = "char(7) || '[2Jevil'"
        database.execute(f"UPDATE streaks SET start = 9000000000000000, until = 9000000000000000, message = {evil}")
        database.execute(f"UPDATE records SET time = -9000000000000000, message = {evil}")
        database.execute(
            "INSERT INTO streaks (promise, start, until, state, before, message)"
            " SELECT promise, -start, -until, state, before, message FROM streaks"
        )
        database.commit()
    (node.partition("part0") / "var/log").mkdir(parents=True)
    (node.partition("part0") / "var/log/\x07.log").write_text("\x07said\n")
    for command in ("history", "explain"):
        code, output, _ = run(command, "page")
        assert code == 0
        assert "\N{REPLACEMENT CHARACTER}[2Jevil" in output
        assert "\x07" not in output


def test_history_of_a_promise_that_never_ran_says_so(run: Run) -> None:
    assert run("history", "disk")[1].splitlines() == [
        "nothing is known of part0/disk in the last 7 days",
        "No measurement.",
    ]


def test_history_shows_the_curve_of_a_metric(run: Run, node: NodeFolder) -> None:
    write(node, "page", PromiseFile("check_free_disk_space", {"threshold": "1 B"}))
    run("run", "page")
    metrics = json.loads(run("history", "page", "--json")[1])["metrics"]
    name = next(iter(metrics))
    points = json.loads(run("history", "page", "--metric", name, "--json")[1])["points"]
    assert len(points) == 1
    assert run("history", "page", "--metric", name)[1].splitlines()[-2].split() == [
        "TIME",
        "(UTC)",
        "LEAST",
        "MEAN",
        "MOST",
    ]
    code, _, error = run("history", "page", "--metric", f"{name}x")
    assert (code, error.startswith(f"error: page has no metric '{name}x'. Did you mean '{name}'?")) == (1, True)


def test_explain_shows_root_measurements_changes_and_log_lines(
    run: Run, node: NodeFolder, document: Make, config: Any
) -> None:
    run("run", "page")
    now = time.time()
    judged = (
        ObservedPromise("page", "failed", "page is absent", now),
        ObservedPromise("service web", "failed", "ended with 1", now - 1),
    )
    seen = ObservedInstance("part0", document().instance, 1, InstanceStatus.RED, promises=judged)
    write_bytes(node.observed / "part0.json", dumps(ObservedState(instances=(seen,))))
    (node.processed / "part0.json").write_text('{"format": 1, "inputs": "", "outcome": "done"}')
    (node.service_logs / "part0.web.log").write_text("old\nweb can't bind\n")
    (node.partition("part0") / "var/log").mkdir(parents=True)
    stamp = datetime.fromtimestamp(now, UTC).isoformat()
    (node.partition("part0") / "var/log/web.log").write_text(f"2020-01-01T00:00:00Z early\n{stamp} no socket\n")
    write(node, "page", PromiseFile("check_url_available", {"url": "http://127.0.0.1:1/"}))
    told = json.loads(run("explain", "page", "--json")[1])
    assert told["root"]["promise"] == "part0/service web"
    assert told["root"]["explains"] == ["part0/page"]
    assert [item["message"] for item in told["measurements"]] == ["page is absent, expected present"]
    assert "part0 was processed: done" in [item["what"] for item in told["changes"]]
    assert told["logs"] == {"part0.web.log": ["old", "web can't bind"], "var/log/web.log": [f"{stamp} no socket"]}
    text = run("explain", "page")[1]
    assert "likely because part0/service web broke " in text
    assert "part0.web.log said:\n  old\n  web can't bind\n" in text


def test_explain_without_a_name_tells_the_roots_of_everything(run: Run, node: NodeFolder, document: Make) -> None:
    write(node, "page", PromiseFile("check_url_available", {"url": "http://127.0.0.1:1/"}))
    (cause,) = json.loads(run("explain", "--json")[1])["causes"]
    assert cause.pop("message") == "ended with 1"
    assert cause == {"promise": "part0/service web", "since": 990.0, "explains": ["part0/page"]}
    lines = run("explain")[1].splitlines()
    assert re.fullmatch(r"part0/service web broke .* ago: .+", lines[0])
    assert lines[1:] == ["  explains part0/page"]
    write_bytes(
        node.observed / "part0.json",
        dumps(ObservedState(instances=(ObservedInstance("part0", document().instance, 1, InstanceStatus.GREEN),))),
    )
    assert run("explain")[1] == "No promise is broken.\n"


def test_a_silence_is_made_listed_shown_and_ended(run: Run) -> None:
    code, output, _ = run("silence", "hello/page", "--reason", "known", "--hours", "2", "--author", "ann", "--json")
    (made,) = json.loads(output)["silences"]
    assert (code, made["promise"], made["author"], made["reason"]) == (0, "part0/page", "ann", "known")
    assert made["until"] - made["start"] == pytest.approx(7200, abs=60)
    assert "failed, silenced" in run("list", "page")[1]
    assert json.loads(run("list", "page", "--json")[1])["promises"][0]["silence"] == made
    assert "silenced by ann: known" in run("explain", "page")[1]
    assert run("silence")[1].splitlines()[1].split()[:3] == [made["id"], "part0/page", "ann"]
    ended = run("silence", "--end", made["id"])[1]
    assert made["id"] in ended and " ended " in ended
    assert run("silence")[1] == "No promise is silenced.\n"
    assert json.loads(run("list", "page", "--json")[1])["promises"][0]["silence"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["page"], "error: no reason is given. Say why: --reason TEXT.\n"),
        (["pgae", "--reason", "x"], "error: no promise matches 'pgae'. Did you mean 'page'?"),
        (["page", "--end", "x", "--reason", "x"], "error: a promise and --end are given. Give one of them.\n"),
        (["--end", "x"], "error: no silence is called 'x'. Name one of: there is none.\n"),
        (["page", "--reason", "x", "--hours", "9000"], "error: the silence does not end within a year from now."),
    ],
)
def test_a_silence_that_cannot_be_made_says_why(run: Run, words: list[str], message: str) -> None:
    code, _, error = run("silence", *words)
    assert code == 1
    assert error.startswith(message)
