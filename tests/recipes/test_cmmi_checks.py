# SPDX-License-Identifier: Apache-2.0
"""Recipe cmmi with the real compiler: what is refused of a part when it is built."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.recipes.yard import LIBRARY, PROGRAM, Yard


def test_a_library_from_outside_the_store_is_refused(yard: Yard) -> None:
    """Every Debian has this one; a -dev package would bring its header as well."""
    outside = next(Path("/").glob("lib/*/libtinfo.so.6")).parent
    asks = "int tgetent(char *, const char *);\nint main(void) { return tgetent(0, 0); }\n"
    link = PROGRAM["Makefile.in"].replace("-lanswer", "$(LDFLAGS) -l:libtinfo.so.6")
    lines = yard.archive("ask", {**PROGRAM, "ask.c": asks, "Makefile.in": link})
    assert yard.build({"ask": lines}).error == (
        "[ask] is built, but is not fit for the store:\n  bin/ask needs libtinfo.so.6, which is in no folder of its"
        " rpath: refer to the part that builds it (${<part>:location}), or configure without it."
    )
    error = yard.build({"ask": f"{lines}\nenvironment =\n  LDFLAGS = -Wl,-rpath={outside}"}).error
    assert f"bin/ask takes libtinfo.so.6 from {outside}, which is no part of the store: refer to the part" in error


def test_an_rpath_into_the_build_folder_is_refused(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    error = yard.build({"answer": f'{lines}\nmake-options = CC="gcc -Wl,-rpath=$PWD"'}).error
    assert re.search(r"  lib/libanswer\.so\.1 has an rpath into \S*/\.work/answer-\S*, which is no part of", error)


@pytest.mark.parametrize(
    ("rpath", "shown"),
    [
        (":@@LOCATION@@/lib", "the current folder"),
        ("/opt/none/lib:@@LOCATION@@/lib", "/opt/none/lib"),
        ("@@LOCATION@@/../.work/other", r"\S*/@@LOCATION@@/\.\./\.work/other".replace("@@LOCATION@@", "answer-\\S*")),
        ("@@LOCATION@@/../gone-1-0/lib", r"\S*/\.\./gone-1-0/lib"),
        ("'$$ORIGIN/../../../other'", r"\S*/lib/\.\./\.\./\.\./other"),
    ],
)
def test_an_rpath_to_what_is_no_whole_part_is_refused(yard: Yard, rpath: str, shown: str) -> None:
    """Whoever can write there decides what our programs load; also when all libraries are found before."""
    flags = f"\nenvironment =\n  LDFLAGS = -Wl,-rpath={rpath}"
    linked = LIBRARY["Makefile.in"].replace("$(CFLAGS)", "$(CFLAGS) $(LDFLAGS)")
    error = yard.build({"answer": yard.archive("answer", {**LIBRARY, "Makefile.in": linked}) + flags}).error
    assert re.search(rf"  lib/libanswer\.so\.1 has an rpath into {shown}, which is no part of the store: set LD", error)


def test_a_program_that_names_the_folder_it_is_built_in_is_refused(yard: Yard) -> None:
    """Its final name is a link then, and some build systems follow it."""
    text = '-DDATA=\\"$$(cd @prefix@/lib && pwd -P)/data\\"'
    makefile = LIBRARY["Makefile.in"].replace("all: libanswer.so.1\n", "all:\n").replace("install: all\n", "install:\n")
    makefile = makefile.replace("libanswer.so.1: answer.c\n\t", "build: answer.c\n\t").replace("$(CFLAGS)", text)
    makefile = makefile.replace("-o $@", "-o libanswer.so.1").replace(
        "\tcp libanswer", "\t$(MAKE) build\n\tcp libanswer"
    )
    source = {**LIBRARY, "answer.c": "const char *data = DATA;\n", "Makefile.in": makefile}
    error = yard.build({"answer": yard.archive("answer", source)}).error
    assert re.search(
        r"  lib/libanswer\.so\.1 names \S*/\.work/answer-1\.0-\w+/part, which goes away: hand @@LOCATION@@", error
    )


def test_a_text_that_names_the_build_folder_is_refused(yard: Yard) -> None:
    lines = (
        yard.archive("answer", LIBRARY)
        + "\npost-install = (echo; pwd) > @@LOCATION@@/lib/answer.pc; ln -s $PWD @@LOCATION@@/src"
    )
    error = yard.build({"answer": lines}).error
    assert re.search(
        r"  lib/answer\.pc, line 2 names .*/\.work/answer-\S*, which goes away: replace it in post-install", error
    )
    assert re.search(r"  src is a link into .*/\.work/answer-\S*: link inside the part", error)


def test_a_part_of_the_release_s_own_takes_libraries_from_shared_ones(yard: Yard) -> None:
    ask = yard.archive("ask", PROGRAM) + "\nshared = false\nenvironment =\n  ANSWER = ${answer:location}"
    assert yard.build({"answer": yard.archive("answer", LIBRARY), "ask": ask}).error == ""
    (part,) = (yard.place / "built/store").glob("ask-*")
    done = subprocess.run([part / "bin/ask"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_promises_are_kept_and_are_no_inputs(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    plain = yard.build({"answer": lines})
    kept = """
promises =
  include/answer.h
  @@LOCATION@@/lib
  directory:lib
  file:include/answer.h
  dynlib:lib/libanswer.so.1 linked:libc.so.6 rpath:@@LOCATION@@/lib
"""
    linked = "\nmake-options = LDLIBS=-lc CFLAGS='-O2 -Wl,--no-as-needed' CC='gcc -Wl,-rpath=@@LOCATION@@/lib'"
    promised = yard.build({"answer": lines + linked + kept})
    assert promised.error == ""
    broken = yard.build(
        {
            "answer": lines
            + "\npromises =\n  lib/none\n  dynlib:include/answer.h\n  file:lib\n  directory:include/answer.h"
        }
    )
    part = next(path for path in yard.store.glob("answer-*") if path.name.endswith(plain.parts["answer"][:32]))
    assert broken.error == (
        f"[answer] promises: it is built, but not as promised:\n  {part}/lib/none is not there\n"
        f"  {part}/include/answer.h is no ELF file\n  {part}/lib is a folder\n  {part}/include/answer.h is no folder."
    )
    assert part.is_dir(), "what is in the store stays"


def test_what_breaks_its_promises_does_not_enter_the_store(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY) + "\npromises = dynlib:lib/libanswer.so linked:libz.so.1 rpath:/x"
    error = yard.build({"answer": lines}).error
    assert "/lib/libanswer.so is not linked to libz.so.1\n" in error
    assert "/lib/libanswer.so has no rpath to /x." in error
    assert list(yard.store.glob("answer-*")) == []
