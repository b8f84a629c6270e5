# SPDX-License-Identifier: Apache-2.0
"""Leaks that were seen in real software, each made again in a few lines of C and built by cmmi."""

import re
from typing import Any

import pytest

from allotment_recipes.hermetic.host_tools import find

# On every Debian: bash needs it.
ALWAYS_THERE = "libtinfo.so.6"
MAKE = "\nconfigure-command = true\nmake-options = PREFIX=@@LOCATION@@"
CURSES = {
    "curses.c": "int screen(void) { return 1; }\n",
    "panel.c": "int screen(void);\nint panel(void) { return screen(); }\n",
    "Makefile": """\
unexport LD_RUN_PATH
all:
\t$(CC) -shared -fPIC -Wl,-soname,libcurses.so.6 -o libcurses.so.6 curses.c
\t$(CC) -shared -fPIC -Wl,-soname,libpanel.so.6 -o libpanel.so.6 panel.c libcurses.so.6 $(PANEL_FLAGS)
install:
\tmkdir -p $(PREFIX)/lib
\tcp libcurses.so.6 libpanel.so.6 $(PREFIX)/lib
\tln -s libcurses.so.6 $(PREFIX)/lib/libcurses.so
\tln -s libpanel.so.6 $(PREFIX)/lib/libpanel.so
""",
}


def test_an_extension_module_that_takes_the_system_s_library_is_refused(yard: Any) -> None:
    """As python's _uuid did: configure found the library, nobody had declared it."""
    source = {
        "_terminal.c": "int tgetent(char *, const char *);\nint start(void) { return tgetent(0, 0); }\n",
        "Makefile": f"""\
all:
\t$(CC) -shared -fPIC -o _terminal.so _terminal.c -l:{ALWAYS_THERE}
install:
\tmkdir -p $(PREFIX)/lib/python
\tcp _terminal.so $(PREFIX)/lib/python
""",
    }
    assert yard.build({"snake": yard.archive("snake", source) + MAKE}).error == (
        "[snake] is built, but is not fit for the store:\n"
        "  lib/python/_terminal.so needs libtinfo.so.6, which is in no folder of its rpath: refer to the part that"
        " builds it (${<part>:location}), or configure without it."
    )


def test_a_library_that_is_found_only_through_its_user_s_rpath_is_refused(yard: Any) -> None:
    """As ncurses' libpanelw was: RUNPATH is not inherited, so the user's helps only the user."""
    curses = yard.archive("curses", CURSES) + MAKE
    error = yard.build({"curses": curses}).error
    assert error.splitlines()[1:] == [
        "  lib/libpanel.so.6 needs libcurses.so.6, which is in no folder of its rpath: add"
        " -Wl,-rpath=@@LOCATION@@/lib to LDFLAGS."
    ]
    mended = f"{curses} PANEL_FLAGS=-Wl,-rpath=@@LOCATION@@/lib"
    assert yard.build({"curses": mended}).error == ""


@pytest.mark.skipif(find("cmake") is None, reason="this machine has no cmake")
def test_cmake_that_drops_the_rpath_when_it_installs_is_caught(yard: Any) -> None:
    """As expat's xmlwf was built, which then used the system's libexpat; LDFLAGS of ours would have kept it."""
    source = {
        "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.16)
project(tree C)
add_library(tree SHARED tree.c)
add_executable(walk walk.c)
target_link_libraries(walk tree)
install(TARGETS tree walk)
""",
        "tree.c": "int tree(void) { return 0; }\n",
        "walk.c": "int tree(void);\nint main(void) { return tree(); }\n",
    }
    lines = yard.archive("tree", source) + "\nhost-tools = cmake\nmake-options = -C build"
    configure = "\nconfigure-command = env -u LDFLAGS cmake -S . -B build -DCMAKE_INSTALL_PREFIX=@@LOCATION@@"
    error = yard.build({"tree": lines + configure}).error
    assert error.splitlines()[1:] == [
        "  bin/walk needs libtree.so, which is in no folder of its rpath: add -Wl,-rpath=@@LOCATION@@/lib to LDFLAGS."
    ]
    keeping = " -DCMAKE_INSTALL_RPATH=@@LOCATION@@/lib"
    assert yard.build({"tree": lines + configure + keeping}).error == ""


def test_a_library_of_a_part_that_the_section_does_not_refer_to_is_refused(yard: Any) -> None:
    """It is in the store, so it may be there; whoever takes it must say so, or it is removed below him."""
    flags = f"{MAKE} PANEL_FLAGS=-Wl,-rpath=@@LOCATION@@/lib"
    user = {
        "use.c": "int panel(void);\nint main(void) { return panel(); }\n",
        "Makefile": "all:\n\t$(CC) -o use use.c -L$(AT)/lib -lpanel -Wl,-rpath=$(AT)/lib -Wl,-rpath-link=$(AT)/lib\n"
        "install:\n\tmkdir -p $(PREFIX)/bin\n\tcp use $(PREFIX)/bin\n",
    }
    sections = {"curses": yard.archive("curses", CURSES) + flags}
    assert yard.build(sections).error == ""
    place = yard.part("curses")
    hidden = sections | {"use": yard.archive("use", user) + f"{MAKE} AT={place}"}
    error = yard.build(hidden).error
    shown = r"a part that the section does not refer to \(write \$\{curses:location\} in it\)"
    assert re.search(rf"  bin/use has an rpath into {re.escape(str(place))}/lib, {shown}: set LDFLAGS", error)
    assert re.search(rf"  bin/use takes libpanel\.so\.6 from {re.escape(str(place))}/lib, {shown}", error)
    declared = sections | {"use": yard.archive("use", user) + MAKE + " AT=${curses:location}"}
    assert yard.build(declared).error == ""


def test_what_a_reference_refers_to_may_be_used(yard: Any) -> None:
    flags = f"{MAKE} PANEL_FLAGS=-Wl,-rpath=@@LOCATION@@/lib"
    between = {
        "Makefile": "all:\n\techo $(AT)\ninstall:\n\tmkdir $(PREFIX)/share\n\techo there > $(PREFIX)/share/file\n"
    }
    user = {
        "use.c": "int panel(void);\nint main(void) { return panel(); }\n",
        "Makefile": "all:\n\t$(CC) -o use use.c -L$(AT)/lib -lpanel -Wl,-rpath=$(AT)/lib -Wl,-rpath-link=$(AT)/lib\n"
        "install:\n\tmkdir -p $(PREFIX)/bin\n\tcp use $(PREFIX)/bin\n",
    }
    sections = {"curses": yard.archive("curses", CURSES) + flags}
    sections["between"] = yard.archive("between", between) + MAKE + " AT=${curses:location}"
    assert yard.build(sections).error == ""
    text = f"{MAKE} AT={yard.part('curses')} BETWEEN=${{between:location}}"
    assert yard.build(sections | {"use": yard.archive("use", user) + text}).error == ""


SCRIPT = "all:\ninstall:\n\tmkdir -p $(PREFIX)/bin\n\tcp start $(PREFIX)/bin\n"


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("#!/usr/bin/perl -w", "bin/start is run by perl, which is not declared: name it in host-tools, or remove"),
        ("#!/usr/bin/env -S python3 -I", "bin/start is run by python3, which is not declared: name it in host-tools"),
        ("#!/opt/none/bin/python", "bin/start is run by /opt/none/bin/python, which is no part of the store: replace"),
        ("#!/bin/sh", ""),
        ("#! /usr/bin/env bash", ""),
    ],
)
def test_a_script_is_run_by_what_is_declared(yard: Any, first: str, problem: str) -> None:
    lines = yard.archive("run", {"start": f"{first}\nexit 0\n", "Makefile": SCRIPT}) + MAKE
    error = yard.build({"run": lines}).error
    assert problem in error
    assert bool(problem) == bool(error)
    if "host-tools" in problem:
        assert yard.build({"run": f"{lines}\nhost-tools = perl python3"}).error == ""


LIBTOOL = "# made by libtool\ndependency_libs=' -L@P@/lib {} -lm'\nlibdir='{}'\n"
CMAKE = '# such as /lib\nif(P STREQUAL "/lib")\nendif()\nset_target_properties(a PROPERTIES\n  {}\n)\n'


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.pc", "prefix=@P@\nLibs: -L${prefix}/lib -L/usr/lib/x86 -la\n", "/usr/lib/x86"),
        ("a.pc", "prefix=/opt/other\nLibs: -L${prefix}/lib -la\n", "/opt/other"),
        ("a.pc", "prefix=@P@\nsysconfdir=/etc\nCflags: -I@P@/include\nURL: https://a/b\n", ""),
        ("liba.la", LIBTOOL.format("/usr/lib/libz.la", "@P@/lib"), "/usr/lib/libz.la"),
        ("liba.la", LIBTOOL.format("", "/usr/local/lib"), "/usr/local/lib"),
        ("liba.la", LIBTOOL.format("@P@/lib/libb.la", "@P@/lib"), ""),
        ("a.cmake", CMAKE.format('IMPORTED_LOCATION "/usr/lib/liba.so"'), "/usr/lib/liba.so"),
        ("a.cmake", CMAKE.format('INTERFACE_LINK_LIBRARIES "$<LINK_ONLY:m>;/opt/b.so"'), "/opt/b.so"),
        ("a.cmake", CMAKE.format('IMPORTED_LOCATION "${P}/lib/liba.so"'), ""),
    ],
)
def test_what_others_are_told_to_compile_with_is_in_the_store(yard: Any, name: str, text: str, problem: str) -> None:
    makefile = (
        "all:\ninstall:\n\tmkdir -p $(PREFIX)/$(dir $(NAME))\n\tsed 's|@P@|$(PREFIX)|g' text > $(PREFIX)/$(NAME)\n"
    )
    lines = yard.archive("told", {"text": text, "Makefile": makefile}) + f"{MAKE} NAME={name}"
    error = yard.build({"told": lines}).error
    assert bool(problem) == bool(error)
    if problem:
        wanted = (
            f"  {name} names {problem}, which is no part of the store: replace it in post-install, or remove the file"
        )
        assert wanted in error


def test_the_build_folder_in_a_binary_is_found(yard: Any) -> None:
    makefile = "all:\ninstall:\n\tmkdir -p $(PREFIX)/lib\n\tprintf '\\000%s\\000' $(CURDIR) > $(PREFIX)/lib/a.pyc\n"
    error = yard.build({"snake": yard.archive("snake", {"Makefile": makefile}) + MAKE}).error
    assert re.search(r"  lib/a\.pyc names \S*/\.work/snake-\S*, where it was built: have it built by a relative", error)
