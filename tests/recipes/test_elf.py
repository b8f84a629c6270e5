# SPDX-License-Identifier: Apache-2.0
import contextlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from allotment_recipes import elf


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A shared library with two folders in its RUNPATH."""
    (tmp_path / "a.c").write_text("#include <math.h>\ndouble f(double x) { return cos(x); }\n")
    link = ["-lm", "-Wl,--no-as-needed", "-Wl,-rpath=/one/lib:$ORIGIN/../lib"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "libf.so", "a.c", *link], cwd=tmp_path, check=True)
    return tmp_path / "libf.so"


def test_needed_libraries_and_search_folders_are_read(library: Path) -> None:
    assert elf.read(library) == elf.Elf(("libm.so.6", "libc.so.6"), ("/one/lib", "$ORIGIN/../lib"))


def test_an_rpath_of_the_old_kind_is_read_too(library: Path) -> None:
    link = ["-Wl,--disable-new-dtags", "-Wl,-rpath=/old/lib"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "libg.so", "a.c", *link], cwd=library.parent, check=True)
    found = elf.read(library.with_name("libg.so"))
    assert found is not None
    assert found.search == ("/old/lib",)


def test_an_empty_folder_of_an_rpath_is_told(library: Path) -> None:
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", "libg.so", "a.c", "-Wl,-rpath=:/a"], cwd=library.parent, check=True
    )
    found = elf.read(library.with_name("libg.so"))
    assert found is not None
    assert found.search == ("", "/a")


def test_object_files_and_static_programs_ask_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-c", "a.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-static", "-o", "a", "a.c"], cwd=tmp_path, check=True)
    assert [elf.read(tmp_path / name) for name in ("a.o", "a")] == [elf.Elf((), ())] * 2


def test_other_files_are_none(tmp_path: Path) -> None:
    for data in (b"", b"\x7fEL", b"#!/bin/sh\n"):
        (tmp_path / "file").write_bytes(data)
        assert elf.read(tmp_path / "file") is None


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_it_reads_what_readelf_reads() -> None:
    path = Path(sys.executable).resolve()
    shown = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True).stdout
    needed = tuple(line.rpartition("[")[2].rstrip("]") for line in shown.splitlines() if "(NEEDED)" in line)
    found = elf.read(path)
    assert found is not None
    assert found.needed == needed


def test_a_damaged_file_is_a_value_error_or_read_as_it_is(library: Path) -> None:
    whole = library.read_bytes()
    for seed in range(300):
        chance = random.Random(seed)
        data = bytearray(whole[: chance.randrange(8, len(whole))] if seed % 2 else whole)
        for _ in range(chance.randrange(20)):
            data[chance.randrange(4, min(len(data), 1024))] = chance.randrange(256)
        library.write_bytes(data)
        with contextlib.suppress(ValueError):
            elf.read(library)
