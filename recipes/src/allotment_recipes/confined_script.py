# SPDX-License-Identifier: Apache-2.0
"""Runs a snippet of a release's profile in a sandbox: a process of its own, for which this one does what only it may.

The snippet asks over a socket, a JSON object a line: to fetch a source, which is known by its hash, and to write a
file of the part. At its end it tells the options that it has set.
"""

import json
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment_recipes import sources
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.hermetic.bench import advice
from allotment_recipes.hermetic.sandbox import Sandbox
from allotment_recipes.journal import is_inside
from allotment_recipes.script_tools import ScriptTools


class _Asker:
    """Of the snippet: asks whoever began it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def ask(self, **question: Any) -> Any:
        self.tell(**question)
        answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise _error(answer)
        return answer["answer"]

    def tell(self, **message: Any) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def fetch(self, wanted: Sequence[sources.Source]) -> None:
        self.ask(fetch=[asdict(source) for source in wanted])

    def write(self, path: str | Path, text: str, mode: int = 0o644) -> str:
        return str(self.ask(write=[str(path), text, mode]))


class _Answerer:
    """Of whoever began the snippet."""

    def __init__(self, connection: socket.socket, recipe: GenericBaseRecipe[Any], tools: ScriptTools) -> None:
        self._connection = connection
        self._recipe = recipe
        self._tools = tools
        self._rest = b""
        self.end: Mapping[str, Any] | None = None  # what it told last

    def take(self) -> None:
        *lines, self._rest = (self._rest + self._connection.recv(1 << 16)).split(b"\n")
        for message in map(json.loads, lines):
            if "ended" in message:
                self.end = message["ended"]
                continue
            try:
                answer: dict[str, Any] = {"answer": self._answer(message)}
            except AllotmentError as error:
                answer = _described(error)
            self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, message: Mapping[str, Any]) -> Any:
        if "fetch" in message:
            wanted = [sources.Source(**{**item, **_tuples(item)}) for item in message["fetch"]]
            sources.fetch_all(wanted, BlobStore(self._recipe.run.sources))
            return None
        path, text, mode = message["write"]
        if not is_inside(self._recipe.path(path), self._recipe.folder):
            raise AllotmentError(f"{path} is outside of {self._recipe.folder}", "Write below that folder")
        return self._tools.write(path, text, mode)


def run(recipe: GenericBaseRecipe[Any], tools: ScriptTools, sandbox: Sandbox, work: Callable[[], object]) -> None:
    """Do ``work``, which runs the snippet with ``tools``; set the options that it sets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answerer = _Answerer(ours, recipe, tools)

        def child() -> None:
            asker = _Asker(theirs)
            tools.fetch, tools.write = asker.fetch, asker.write  # type: ignore[method-assign]  # of this process only
            tempfile.tempdir = None
            tools.options.changes.clear()
            try:
                work()
            except AllotmentError as error:
                asker.tell(ended=_described(error))
            else:
                asker.tell(ended={"options": tools.options.changes})

        code = sandbox.call(child, [theirs.fileno()], (ours.fileno(), answerer.take))
    end = answerer.end
    if end is None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise AllotmentError(f"[{recipe.name}] its process {how}", "Correct the Python, or see the log")
    if "error" in end:
        error = _error(end)
        raise type(error)(error.what, advice(error.what, recipe.folder) or error.fix)
    for option, value in end["options"].items():
        if value is None:
            tools.options.pop(option, None)
        else:
            tools.options[option] = value


def _tuples(item: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(value) for name, value in item.items() if isinstance(value, list)}


def _described(error: AllotmentError) -> dict[str, Any]:
    return {"error": [error.what, error.fix, isinstance(error, MachineError)]}


def _error(message: Mapping[str, Any]) -> AllotmentError:
    what, fix, is_machine = message["error"]
    return (MachineError if is_machine else AllotmentError)(what, fix)
