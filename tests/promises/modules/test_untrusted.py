# SPDX-License-Identifier: Apache-2.0
"""Files of a partition's modules can hold anything: what reads them in the node's own processes survives it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_promises.modules import facts, header
from allotment_promises.modules.slapos_host.runs import Line, Runs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
LINES = st.lists(st.builds(Line, st.floats(0, 4e9), st.sampled_from(["INFO", "ERROR"]), st.text(max_size=50)))


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("part")
    (folder / "etc/plugin").mkdir(parents=True)
    (folder / ".slapgrid/promise/facts").mkdir(parents=True)
    return folder


@given(data=st.binary() | st.text(alphabet="sy.path[0:]='\"= \n#!import,()\\").map(str.encode))
def test_a_module_of_any_bytes_has_a_header_or_a_problem(partition: Path, data: bytes) -> None:
    path = partition / "etc/plugin/web.py"
    path.write_bytes(data)
    try:
        found, imports = header.read(path)
    except AllotmentError as error:
        assert str(error).startswith("etc/plugin/web.py")
    else:
        assert found.interpreter
        assert all(isinstance(item, str) for item in (*found.paths, *imports))
    assert facts.read(partition, path).period > 0


def test_a_module_that_nests_too_deeply_is_a_problem(partition: Path) -> None:
    path = partition / "etc/plugin/deep.py"
    for text in (
        "(" * 5000,
        "-" * 100000 + "1",
        "a" + ".b" * 100000,
        "a" + ".b" * 900 + " = 1",
        "x = " + "[" * 150 + "]" * 150,
    ):
        path.write_text(text)
        try:
            header.read(path)
        except AllotmentError as error:
            assert str(error).startswith("etc/plugin/deep.py")


def test_a_first_line_with_half_a_quotation_is_a_problem(partition: Path) -> None:
    path = partition / "etc/plugin/quote.py"
    path.write_text("#!/usr/bin/python3 'x\n")
    with pytest.raises(AllotmentError) as caught:
        header.read(path)
    assert str(caught.value) == (
        "etc/plugin/quote.py: the first line names no Python. Write one like #!/usr/bin/python3."
    )


@given(data=JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_facts_of_any_bytes_are_facts(partition: Path, data: bytes) -> None:
    (partition / ".slapgrid/promise/facts/any.json").write_bytes(data)
    assert facts.read(partition, partition / "etc/plugin/any.py") == facts.Facts()


@given(data=st.binary() | JSON.map(lambda value: json.dumps(value).encode()), lines=LINES)
def test_runs_are_read_back_after_whatever_was_there(partition: Path, data: bytes, lines: list[Line]) -> None:
    path = partition / "any.runs.jsonl"
    path.write_bytes(data + b"\n")
    runs = Runs(path)
    for line in lines:
        runs.add(line)
    runs.close()
    newest = Runs(path).newest(1)
    assert not lines or [(line.level, line.message) for line in newest[0]] == [line[1:] for line in lines]
