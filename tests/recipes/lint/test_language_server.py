# SPDX-License-Identifier: Apache-2.0
"""The server as an editor sees it: a process that is spoken to by its standard input."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TEXT = """\
[buildout]
parts = run

[run]
recipe = allotment.recipes:wrapper
command-line = true
wrapper-path = bin/run
wraper = x
"""


class Editor:
    """Sends requests and notifications, and waits for what comes back."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "allotment", "lint", "--lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
        )
        self._next = 0
        self._told: list[dict[str, Any]] = []
        self.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}})
        self.tell("initialized", {})

    def tell(self, method: str, params: dict[str, Any], **more: Any) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        self._next += 1
        self.tell(method, params, id=self._next)
        while True:
            message = self._read()
            if message.get("id") == self._next:
                assert "error" not in message, message
                return message["result"]
            self._told.append(message)

    def diagnostics(self, path: Path) -> list[dict[str, Any]]:
        """Return what was told of a file next."""
        while True:
            message = self._told.pop(0) if self._told else self._read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == path.as_uri():
                found: list[dict[str, Any]] = message["params"]["diagnostics"]
                return found

    def open(self, path: Path, text: str) -> None:
        document = {"uri": path.as_uri(), "languageId": "ini", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})

    def names(self, path: Path, line: int, character: int) -> list[str]:
        place = {"textDocument": {"uri": path.as_uri()}, "position": {"line": line, "character": character}}
        return [item["label"] for item in self.ask("textDocument/completion", place)]

    def close(self) -> None:
        self.ask("shutdown", {})
        self.tell("exit", {})
        assert self._process.wait(60) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    found = Editor(tmp_path_factory.mktemp("editor"))
    yield found
    found.kill()


def test_problems_are_told_while_one_types(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "buildout.cfg"
    editor.open(path, TEXT)
    (problem,) = editor.diagnostics(path)
    assert problem["message"].startswith(
        "[run] wraper: unknown option, and nothing refers to it. Did you mean 'wrapper-path'?"
    )
    assert problem["range"] == {"start": {"line": 7, "character": 0}, "end": {"line": 7, "character": 10}}
    assert (problem["code"], problem["source"]) == ("option", "allot")
    change = {
        "textDocument": {"uri": path.as_uri(), "version": 2},
        "contentChanges": [{"text": TEXT.replace("wraper = x\n", "")}],
    }
    editor.tell("textDocument/didChange", change)
    assert editor.diagnostics(path) == []


def test_an_instance_profile_is_checked_as_its_release_renders_it(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "software.cfg").write_text(
        "[buildout]\nparts = profile\n[profile]\nrecipe = allotment.recipes:template.jinja2\n"
        "url = ${:_profile_base_location_}/instance.cfg.in\noutput = instance.cfg\n"
        "context = raw stack ${:_profile_base_location_}\n"
    )
    (tmp_path / "base.cfg").write_text("[base]\nport = 80\n")
    path = tmp_path / "instance.cfg.in"
    text = "[buildout]\nextends = {{ stack }}/base.cfg\nparts = a\n[a]\n"
    text += "recipe = allotment.recipes:mkdirectory\nb = ${base:prt}\n"
    editor.open(path, text)
    assert [item["message"] for item in editor.diagnostics(path)] == [
        "[a] refers to ${base:prt}, but [base] has no such option. Did you mean 'port'? Valid: port."
    ]


@pytest.mark.parametrize(
    ("line", "text", "name"),
    [
        (4, "recipe = allotment.recipes:wr", "allotment.recipes:wrapper"),
        (7, "hash", "hash-files"),
        (7, "x = ${ru", "run"),
        (7, "x = ${run:comm", "command-line"),
        (7, "x = ${:comm", "command-line"),
        (7, "<= r", "run"),
    ],
)
def test_names_are_completed(editor: Editor, tmp_path: Path, line: int, text: str, name: str) -> None:
    path = tmp_path / "buildout.cfg"
    lines = TEXT.splitlines()
    lines[line] = text
    editor.open(path, "\n".join(lines) + "\n")
    assert name in editor.names(path, line, len(text))


def test_an_option_says_what_it_is_for(editor: Editor, tmp_path: Path) -> None:
    path = tmp_path / "buildout.cfg"
    editor.open(path, TEXT)
    place = {"textDocument": {"uri": path.as_uri()}, "position": {"line": 6, "character": 3}}
    assert editor.ask("textDocument/hover", place)["contents"]["value"].startswith("wrapper-path: the script that is")
    place["position"] = {"line": 0, "character": 3}
    assert editor.ask("textDocument/hover", place) is None


def test_the_server_ends_with_its_editor(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    try:
        editor.close()
    finally:
        editor.kill()
