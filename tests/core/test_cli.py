# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

Allot = Callable[..., "subprocess.CompletedProcess[str]"]

PLUGIN = """
from allotment.hookspecs import Command, hookimpl

@hookimpl
def allotment_commands():
    return [
        Command(("other", "fail"), "other_plugin:fail", "Fails."),
        Command(("other", "bug"), "other_plugin:bug", "Has a bug."),
        Command(("other", "code"), "other_plugin:code", "Ends with 7."),
        Command(("other", "stop"), "other_plugin:stop", "Is interrupted."),
        Command(("other", "gone"), "not_there:command", "Is not installed."),
    ]

def __getattr__(name):
    import click
    from allotment.errors import AllotmentError

    if name == "__path__":
        raise AttributeError
    def run():
        if name == "fail":
            raise AllotmentError("it is wrong", "Mend it")
        if name == "bug":
            raise RuntimeError("a bug")
        if name == "stop":
            raise KeyboardInterrupt
        return 7
    return click.command(name)(run)
"""


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from allotment.cli import main; from allotment.plugins import plugins\n"
        "assert main(['--help']) == 0\n"
        "targets = {item.target.partition(':')[0] for item in plugins().items('allotment_commands')}\n"
        "heavy = {'zc.buildout', 'jinja2', 'twisted', 'fastapi', 'sqlalchemy', 'httpx2', 'cryptography', 'ssl'}\n"
        "found = (targets | heavy) & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_help_lists_commands_and_groups(allot: Allot) -> None:
    result = allot("--help", code=PLUGIN)
    assert result.returncode == 0
    assert "plugins  " in result.stdout
    assert "Commands of other." in result.stdout
    result = allot("other", "--help", code=PLUGIN)
    assert result.returncode == 0
    assert [line.split() for line in result.stdout.splitlines() if "Fails." in line] == [["fail", "Fails."]]


def test_each_group_of_ours_says_what_it_is_for(allot: Allot) -> None:
    assert "Commands of" not in allot("--help").stdout
    assert "Commands of" not in allot("store", "--help").stdout


def test_version_is_printed(allot: Allot) -> None:
    result = allot("--version")
    assert (result.returncode, result.stdout) == (0, "allot, version 0.1\n")


def test_error_is_said_and_ends_with_1(allot: Allot) -> None:
    result = allot("other", "fail", code=PLUGIN)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "error: it is wrong. Mend it.\n")


def test_command_that_is_not_installed_is_an_error(allot: Allot) -> None:
    result = allot("other", "gone", code=PLUGIN)
    assert (result.returncode, result.stderr) == (
        1,
        "error: not_there:command can't be imported: No module named 'not_there'."
        " Install what it needs, or correct the name.\n",
    )


def test_bug_keeps_its_traceback(allot: Allot) -> None:
    result = allot("other", "bug", code=PLUGIN)
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("RuntimeError: a bug\n")


def test_command_decides_its_exit_code(allot: Allot) -> None:
    assert allot("other", "code", code=PLUGIN).returncode == 7


@pytest.mark.parametrize("arguments", [["nothing"], ["other", "nothing"], ["plugins", "--nothing"], ["plugins", "x"]])
def test_wrong_usage_ends_with_2(allot: Allot, arguments: list[str]) -> None:
    result = allot(*arguments, code=PLUGIN)
    assert result.returncode == 2
    assert "Usage: allot" in result.stderr
    assert "Traceback" not in result.stderr


def test_group_alone_shows_its_help(allot: Allot) -> None:
    result = allot("other", code=PLUGIN)
    assert result.returncode == 2
    assert "Has a bug." in result.stderr


def test_plugins_lists_all_with_origin(allot: Allot) -> None:
    result = allot("plugins", "--json", code=PLUGIN)
    listing = json.loads(result.stdout)
    assert listing["broken"] == []
    items = {(item["kind"], item["name"]): item for item in listing["items"]}
    assert items["command", "plugins"]["distribution"] == "allotment"
    assert items["command", "other fail"]["plugin"] == "other"
    promise = items["promise", "check_socket_listening"]
    assert promise["doc"].startswith("Passes when ``host:port``, or the unix socket ``pathname``, accepts a connection")
    assert [option["name"] for option in promise["options"]][:2] == ["host", "port"]
    assert all(option["doc"] for option in promise["options"])
    assert result.stderr == ""


def test_plugins_as_text_names_options_and_broken_ones(allot: Allot) -> None:
    result = allot("plugins", code="raise OSError('disk')")
    assert result.returncode == 0
    assert "port: whole number, required. TCP port" in result.stdout
    assert "broken: other of other 1.0: OSError: disk" in result.stdout.splitlines()


def test_every_listed_recipe_and_promise_documents_its_options(allot: Allot) -> None:
    listing = json.loads(allot("plugins", "--json").stdout)
    undocumented = [
        f"{item['name']}: {option['name']}"
        for item in listing["items"]
        for option in item.get("options", ())
        if not option["doc"]
    ]
    assert undocumented == []


def test_interrupted_command_says_so(allot: Allot) -> None:
    result = allot("other", "stop", code=PLUGIN)
    assert (result.returncode, result.stderr.strip()) == (130, "stopped")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plugin",), "Error: no command is called 'plugin'. Did you mean 'plugins'? Valid: "),
        (("node", "state"), "Error: no command is called 'state'. Did you mean 'status'? Valid: "),
        (("--nonsense",), "Error: No such option '--nonsense'."),
    ],
)
def test_an_unknown_command_names_the_nearest(allot: Allot, words: tuple[str, ...], message: str) -> None:
    done = allot(*words)
    assert done.returncode == 2
    assert message in done.stderr
