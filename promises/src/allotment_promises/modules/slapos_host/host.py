# SPDX-License-Identifier: Apache-2.0
"""The process of all modules with the same eggs: it imports what they share once, and forks one child for each.

A message on the control socket names modules worth importing before the fork, and brings the socket of one request.
The child answers on it, line by line in JSON: its pid; what ``sense`` found; then its judgement, when it is asked for
one. Whoever asked kills it: a child never ends by itself, so its pid stays its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from . import finder, generic
from .runs import Line, Runs
from .substitutes import SUBSTITUTES

Say = Callable[[Mapping[str, object]], None]
_RESERVED = ("name", "path", "partition-folder", "log-folder", "queue", "debug", "promise-timeout")


def main() -> None:
    """Serve requests until the other end of the control socket is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0:0] = json.loads(sys.argv[2])
    ours = {
        "slapos.grid.promise": None,
        "slapos.grid.promise.generic": lambda: vars(generic),
        "slapos.grid.promise.interface": _interface,
    }
    finder.install(ours, SUBSTITUTES)
    while True:
        data, handles, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            return
        for name in json.loads(data):
            with contextlib.suppress(Exception):  # the module that needs it says what is wrong
                importlib.import_module(name)
        for handle in handles:
            if os.fork() == 0:
                control.close()
                _serve(socket.socket(fileno=handle))
            os.close(handle)


def _interface() -> Mapping[str, object]:
    """Return what modules declare to implement; zope.interface is among their eggs."""
    interface = importlib.import_module("zope.interface.interface")
    return {"IPromise": interface.InterfaceClass("IPromise")}


def _serve(connection: socket.socket) -> None:
    """Answer one request; never returns."""
    try:
        os.setsid()
        stream = connection.makefile("rb")

        def say(answer: Mapping[str, object]) -> None:
            connection.sendall(json.dumps(answer).encode() + b"\n")

        say({"pid": os.getpid()})
        try:
            _converse(json.loads(stream.readline()), stream, say)
        except BaseException as error:  # other people's code: whatever it raises is its own error
            say({"error": _describe(error)})
    finally:
        while True:
            signal.pause()


def _converse(request: Mapping[str, Any], stream: BinaryIO, say: Say) -> None:
    log_folder = Path(request["log-folder"])
    log_folder.mkdir(parents=True, exist_ok=True)
    runs = Runs(log_folder / f"{Path(request['name']).stem}.runs.jsonl")
    promise = _make(request, runs)
    if not promise.isTested() and not promise.isAnomalyDetected():
        raise ValueError("it may run neither as test nor as anomaly")
    if request["ask"] == "facts":
        say(_facts(promise))
        return
    try:
        promise.sense()
    except Exception as error:
        runs.add(Line(time.time(), "ERROR", _describe(error)))
    try:
        say(_found(promise, runs))
        result = _judge(promise, json.loads(stream.readline())["phase"])
    finally:
        runs.close()  # before the answer: who has it ends this process
    may_bang = promise.isBangAllowed() and isinstance(result, generic.AnomalyResult)
    say({"failed": bool(result.hasFailed()), "message": str(result.message or ""), "bang": may_bang})


def _make(request: Mapping[str, Any], runs: Runs) -> generic.GenericPromise:
    module = _load(request["path"])
    config = {**{key: request[key] for key in _RESERVED if key in request}, "queue": runs}
    extra = getattr(module, generic.PROMISE_PARAMETER_NAME, {})
    if not isinstance(extra, dict):
        raise ValueError(f"{generic.PROMISE_PARAMETER_NAME} is no dictionary")
    taken = sorted(set(extra) & set(_RESERVED))
    if taken:
        raise ValueError(f"{generic.PROMISE_PARAMETER_NAME} may not set {', '.join(taken)}")
    promise = module.RunPromise({"partition-id": request["partition-id"], **extra, **config})
    if not isinstance(promise, generic.GenericPromise):
        raise TypeError("RunPromise is not a slapos.grid.promise.generic.GenericPromise")
    return promise


def _load(path: str) -> Any:
    module = ModuleType(Path(path).stem)
    module.__file__ = path
    sys.modules[module.__name__] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    exec(code, vars(module))  # noqa: S102 (an import, but without a __pycache__ in the folder of promises)
    return module


def _found(promise: generic.GenericPromise, runs: Runs) -> Mapping[str, object]:
    return {
        "failed": any(line.level in generic.ERROR_LEVEL for line in runs.current),
        "message": "\n".join(line.message for line in runs.current),
        **_facts(promise),
    }


def _facts(promise: generic.GenericPromise) -> Mapping[str, object]:
    phases = {(True, False): "test", (False, True): "anomaly"}
    only = phases.get((promise.isTested(), promise.isAnomalyDetected()), "")
    return {"minutes": float(promise.getPeriodicity()), "only": only, "bang": promise.isBangAllowed()}


def _judge(promise: generic.GenericPromise, phase: str) -> generic.BaseResult:
    if phase == "test":
        return promise.test() if promise.isTested() else generic.EmptyResult()
    return promise.anomaly() if promise.isAnomalyDetected() else generic.EmptyResult()


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
