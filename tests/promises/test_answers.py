# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises import answers
from allotment_promises.launcher import Launcher, LauncherError
from allotment_promises.result import MESSAGE_LIMIT, METRICS_LIMIT, TARGET_LIMIT

RESULT: dict[str, Any] = {"name": "web", "status": "passed", "message": "fine", "started": 1.0, "seconds": 0.5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
# Speaks to the launcher in the keeper's place: it takes the sockets of the process above its own parent.
MEDDLER = """#!/usr/bin/env python3
import ctypes, os, socket, sys
parent = lambda pid: int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
keeper = parent(os.getppid())
call = ctypes.CDLL(None, use_errno=True).syscall
handle = call(434, keeper, 0)  # pidfd_open
for name in os.listdir(f"/proc/{keeper}/fd"):
    if os.readlink(f"/proc/{keeper}/fd/{name}").startswith("socket:"):
        taken = call(438, handle, int(name), 0)  # pidfd_getfd
        if taken < 0:
            sys.exit(3)
        socket.socket(fileno=taken).sendall(b"[1]\\n")
"""


def _lines(data: bytes) -> list[Any]:
    ours, theirs = socket.socketpair()

    def say() -> None:
        with theirs:
            try:
                theirs.sendall(data)
            except OSError:
                return  # nobody listens any more

    thread = threading.Thread(target=say)
    thread.start()
    try:
        with ours:
            return list(answers.lines(ours, time.monotonic() + 30))
    finally:
        thread.join()


def test_whole_lines_are_taken() -> None:
    assert _lines(b'{"a": 1}\n{}\n{"b"') == [{"a": 1}, {}]


@given(st.binary(max_size=100))
def test_any_bytes_are_objects_or_nonsense(data: bytes) -> None:
    with contextlib.suppress(answers.NonsenseError):
        assert all(isinstance(item, dict) for item in _lines(data))


@pytest.mark.parametrize("data", [b"[" * 100_000 + b"\n", b"x" * (17 << 20)], ids=["nested", "long"])
def test_much_is_nonsense_at_once(data: bytes) -> None:
    with pytest.raises(answers.NonsenseError):
        _lines(data)


@given(st.dictionaries(st.sampled_from([*RESULT, "metrics", "layer", "target", "after"]), JSON))
def test_a_result_of_anything_is_within_limits_or_nonsense(changed: dict[str, Any]) -> None:
    try:
        (found,) = answers.results({"found": [{**RESULT, **changed}]}, None)
    except answers.NonsenseError:
        return
    json.dumps([found.name, found.message, found.target, found.started], allow_nan=False).encode()
    assert found.name.isprintable()
    assert found.message.replace("\n", "").replace("\t", "").isprintable()


def test_long_and_odd_texts_of_a_result_are_cut_and_cleaned() -> None:
    odd = "\x1b\ud800" + "x" * 10_000
    metrics = {f"{number}{odd}": {"value": 1.0, "unit": odd} for number in range(50)}
    changed = {"message": odd, "target": odd, "after": [odd] * 1000, "metrics": metrics}
    (found,) = answers.results({"found": [{**RESULT, **changed}]}, {"web"})
    assert len(found.message) <= MESSAGE_LIMIT
    assert len(found.target) <= TARGET_LIMIT
    assert len(found.metrics) <= METRICS_LIMIT
    assert len(found.after) <= 50
    for text in (found.message, found.target, *found.after, *found.metrics):
        assert text.isprintable()


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"name": "database"}, "a result of a promise that was not run"),
        ({"name": "web\n"}, "a name that is none"),
        ({"started": 1e300}, "a time that is none"),
        ({"started": 10**400}, "PromiseResult.started is beyond what JSON numbers hold"),
        ({"status": "fine"}, "PromiseResult.status is 'fine'"),
    ],
)
def test_a_wrong_result_is_nonsense(changed: dict[str, Any], what: str) -> None:
    with pytest.raises(answers.NonsenseError) as caught:
        answers.results({"found": [{**RESULT, **changed}]}, {"web"})
    assert str(caught.value) == what


@pytest.mark.parametrize("period", [0, 1e-9, 1e-310, 1e300, float("nan"), -60.0])
def test_a_period_that_would_keep_the_agent_busy_is_nonsense(period: float) -> None:
    with pytest.raises(answers.NonsenseError):
        answers.timings({"found": [{"name": "web", "period": period}]})


def test_what_another_process_answers_is_an_error_of_its_partition(
    launcher: Launcher, partition: Path, executable: Callable[..., Path]
) -> None:
    executable("meddler", MEDDLER.replace("/usr/bin/env python3", sys.executable))
    try:
        results = launcher.run(partition)
    except LauncherError as error:
        assert str(error) == (
            f"{partition}: the process that runs promises answered JSON that is no object."
            " Look for a process of the partition's user that meddles with it."
        )
    else:
        assert [str(item.status) for item in results] == ["error"]
        pytest.skip("processes of one user can't take each other's files here")
