# SPDX-License-Identifier: Apache-2.0
"""What is checked of a part, on parts that are written here; test_cmmi_checks.py builds others."""

import subprocess
from pathlib import Path

import pytest

from allotment_recipes.part_checks import LIBC_FAMILY, PartError, check_part


def test_a_script_that_no_kernel_starts_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "run").write_text(f"#!/{'x' * 252}\necho fits\n")
    check_part("part", part, {tmp_path}, ())
    (part / "run").write_text(f"#!/{'x' * 253}\necho too long\n")
    with pytest.raises(PartError) as caught:
        check_part("part", part, {tmp_path}, ())
    assert str(caught.value) == (
        "[part] is built, but is not fit for the store:\n"
        "  run has a first line of 256 bytes, and kernels read 255: shorten it in post-install."
    )


def test_the_family_of_libc_is_known_by_whole_names() -> None:
    known = ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6", "libcrypt.so.1", "libgcc_s.so.1")
    assert all(LIBC_FAMILY.fullmatch(name) for name in known)
    assert not any(LIBC_FAMILY.fullmatch(name) for name in ("libnsl.so.2", "libcrypt.so.2", "libc.so", "libm.so.5"))


def test_a_library_that_is_named_by_a_relative_path_is_refused(tmp_path: Path) -> None:
    """The linker writes the path that it was given when a library has no soname; the loader takes it as it stands."""
    part = tmp_path / "part"
    (part / "lib").mkdir(parents=True)
    (part / "a.c").write_text("int main(void) { return 0; }\n")
    link = ["lib/libb.so", "-Wl,--no-as-needed", "-Wl,-rpath=$ORIGIN"]
    for words in (["-shared", "-o", "lib/libb.so"], ["-Wl,--no-as-needed", *link, "-o", "a"]):
        subprocess.run(["gcc", "-fPIC", "a.c", *words], cwd=part, check=True)
    with pytest.raises(PartError, match=r"  a takes lib/libb\.so from the folder that it is started in: give that lib"):
        check_part("part", part, {tmp_path}, ())
