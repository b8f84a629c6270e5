# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from allotment_promises.catalogue import FILES_LIMIT, NAME_LIMIT, read

Write = Callable[..., Path]


def _problem(partition: Path, name: str, content: str) -> str:
    (partition / "etc/promise" / name).write_text(content)
    (found,) = read(partition)
    return found.problem


def test_promises_are_listed_by_name_with_their_times(partition: Path, promise: Write, executable: Write) -> None:
    (partition / "etc/promise/web.json").write_text('{"format": 1, "type": "x", "period": 5, "timeout": 2.5}')
    executable("alive", "#!/bin/sh\n")
    alive, web = read(partition)
    assert (alive.name, alive.kind, alive.file.period, alive.file.timeout) == ("alive", "executable", 0.0, 0.0)
    assert (web.name, web.kind, web.file.period, web.file.timeout) == ("web", "file", 5.0, 2.5)
    assert not alive.problem
    assert not web.problem


def test_hidden_files_are_passed_over(partition: Path) -> None:
    (partition / "etc/promise/.web.json.1234.new").write_text("half")
    assert read(partition) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "{",
            "etc/promise/web.json: promise is not JSON: Expecting property name enclosed in double quotes: line 1"
            " column 2 (char 1). Write a JSON object.",
        ),
        ("[]", "etc/promise/web.json: promise is a list, not an object. Write a JSON object."),
        ('{"type": "x"}', 'etc/promise/web.json: promise has no format. Add "format": 1.'),
        (
            '{"format": 2, "type": "x"}',
            "etc/promise/web.json: promise has format 2; allotment 0.1 reads format 1."
            " Read it with the allotment version that wrote it, or a later one.",
        ),
        ('{"format": 1}', "etc/promise/web.json: promise lacks the field 'type'. Add type."),
        (
            '{"format": 1, "type": "x", "peroid": 1}',
            "etc/promise/web.json: promise has an unknown field 'peroid'."
            " Did you mean 'period'? Valid: after, bang, failures, jitter, only, options, over, period, timeout, type,"
            " window.",
        ),
        (
            '{"format": 1, "type": "x", "failures": 1001}',
            "etc/promise/web.json: failures or window is not from 0 to 1000. Count fewer runs.",
        ),
        (
            '{"format": 1, "type": "x", "period": -1}',
            "etc/promise/web.json: promise: period, timeout, over and jitter are seconds, zero or above.",
        ),
        (
            '{"format": 1, "type": "x", "timeout": 1e9}',
            "etc/promise/web.json: timeout is above 300 seconds. Make it shorter.",
        ),
        *(
            (
                f'{{"format": 1, "type": "x", {wrong}}}',
                "etc/promise/web.json: period is not from 1 second to 32 days, or jitter is longer."
                " Give seconds, like 60.",
            )
            for wrong in ('"period": 1e-310', '"period": 0.5', '"period": 1e300', '"jitter": 1e300')
        ),
        (
            f'{{"format": 1, "type": "x", "period": 1{"0" * 400}}}',
            "etc/promise/web.json: promise.period is beyond what JSON numbers hold. Write a smaller number.",
        ),
    ],
)
def test_broken_file_names_itself_the_problem_and_the_fix(partition: Path, content: str, problem: str) -> None:
    assert _problem(partition, "web.json", content) == problem


def test_file_that_is_neither_kind_is_a_problem(partition: Path) -> None:
    assert _problem(partition, "README", "hello") == (
        "etc/promise/README: is neither executable nor *.json. Make it one of the two, or remove it."
    )


def test_link_is_not_followed_for_a_file(partition: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"format": 1, "type": "x"}')
    (partition / "etc/promise/web.json").symlink_to(tmp_path / "secret")
    (found,) = read(partition)
    assert found.problem.startswith("etc/promise/web.json can't be read: ")
    assert found.problem.endswith("It must be a regular file.")


def test_device_is_not_opened(partition: Path) -> None:
    os.mkfifo(partition / "etc/promise/web.json")
    (found,) = read(partition)
    assert found.problem == "etc/promise/web.json is not a regular file. Remove it."


def test_link_to_nowhere_is_a_problem(partition: Path) -> None:
    (partition / "etc/promise/web").symlink_to("nowhere")
    (found,) = read(partition)
    assert found.problem == (
        "etc/promise/web: can't be read: No such file or directory. Make it readable, or remove it."
    )


def test_two_files_of_one_name_are_a_problem(partition: Path, promise: Write, executable: Write) -> None:
    executable("web", "#!/bin/sh\n")
    promise("web")
    (found,) = read(partition)
    assert found.problem == "etc/promise/web: web has the same name. Rename one of the two."


def test_too_long_a_name_is_a_problem(partition: Path, executable: Write) -> None:
    executable("x" * (NAME_LIMIT + 1), "#!/bin/sh\n")
    (found,) = read(partition)
    assert found.problem.endswith("the name has more than 200 characters. Shorten it.")


def test_name_with_control_characters_is_a_problem(partition: Path, executable: Write) -> None:
    executable("web\x1b[31m\n", "#!/bin/sh\n")
    (found,) = read(partition)
    assert found.name == "web\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}"
    assert found.problem == f"etc/promise/{found.name}: the name has control characters. Rename it."


def test_too_many_files_are_one_problem(partition: Path) -> None:
    for number in range(FILES_LIMIT + 1):
        (partition / "etc/promise" / f"{number}").touch()
    (found,) = read(partition)
    assert found.problem == f"etc/promise has more than {FILES_LIMIT} files. Remove some."


def test_name_that_is_not_text_is_a_problem(partition: Path) -> None:
    (Path(os.fsdecode(os.fsencode(partition) + b"/etc/promise/\xff"))).write_text("")
    (found,) = read(partition)
    found.name.encode()
    assert found.problem.endswith("the name is not UTF-8. Rename it.")
