# SPDX-License-Identifier: Apache-2.0
"""What sections promise of their parts: the lines are read, or refused with the line in the error."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from allotment.options import OptionProblem
from allotment_recipes.part_checks import PartError
from allotment_recipes.part_promises import PartPromise, check_promises, read_promises

HERE = Path("/part")


@pytest.mark.parametrize(
    ("line", "promise"),
    [
        ("bin/a b", PartPromise(HERE / "bin/a b")),
        ("/other/file", PartPromise(Path("/other/file"))),
        ("./odd:name", PartPromise(HERE / "odd:name")),
        ("directory:lib", PartPromise(HERE / "lib", "directory")),
        ("statlib: lib/x.a", PartPromise(HERE / "lib/x.a", "statlib")),
        ("dynlib:x linked:a,b rpath:/c,/d", PartPromise(HERE / "x", "dynlib", ("a", "b"), ("/c", "/d"))),
        ("dynlib: x  rpath: /c  linked: a", PartPromise(HERE / "x", "dynlib", ("a",), ("/c",))),
    ],
)
def test_a_line_is_a_promise(line: str, promise: PartPromise) -> None:
    assert read_promises([line], HERE) == (promise,)


@given(some.text(max_size=40))
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        (promise,) = read_promises([line], HERE)
    except OptionProblem as error:
        assert repr(line) in error.problem
    else:
        assert promise.path.is_absolute()


@given(some.sampled_from(["directory", "file", "statlib"]), some.from_regex(r"[a-z./]{1,20}", fullmatch=True))
def test_a_kind_and_a_path_come_back(kind: str, path: str) -> None:
    assert read_promises([f"{kind}:{path}"], HERE) == (PartPromise(HERE / path, kind),)


def test_a_static_library_is_told_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int x;\n")
    subprocess.run(["gcc", "-c", "x.c"], cwd=tmp_path, check=True)
    subprocess.run(["ar", "rc", "libx.a", "x.o"], cwd=tmp_path, check=True)
    check_promises("x", read_promises(["statlib:libx.a"], tmp_path))
    with pytest.raises(PartError, match=r"\[x\] promises: it is built, but not as promised:\n  .*/x.c is no static"):
        check_promises("x", read_promises(["statlib:x.c"], tmp_path))


def test_a_name_with_a_star_stands_for_all_that_are_there_and_one_must_be(tmp_path: Path) -> None:
    promises = read_promises(["file:lib/fast.*.so"], tmp_path)
    with pytest.raises(PartError, match=r"/lib/fast\.\*\.so is not there"):
        check_promises("x", promises)
    (tmp_path / "lib/fast.1.so").mkdir(parents=True)
    (tmp_path / "lib/fast.2.so").touch()
    with pytest.raises(PartError, match=r":\n  .*/lib/fast\.1\.so is a folder"):
        check_promises("x", promises)
    (tmp_path / "lib/fast.1.so").rmdir()
    check_promises("x", promises)


def test_a_damaged_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(PartError, match=r"/x\.so is a damaged ELF file"):
        check_promises("x", read_promises(["dynlib:x.so"], tmp_path))
