# SPDX-License-Identifier: Apache-2.0
"""Recipe cmmi with programs of the machine, of other parts and of wheels: cmake, Meson."""

import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.recipes.yard import LIBRARY, PROGRAM, Yard

from allotment.blobs import BlobStore


def test_a_program_that_the_machine_lacks_is_named_before_anything_is_fetched(yard: Yard) -> None:
    gone = f"url = /nonexistent\nsha256sum = {'0' * 64}"
    error = yard.build({"answer": f"{gone}\nhost-tools = sh no-such-thing no-such-too:some-package"}).error
    assert error == (
        "[answer] host-tools: this machine has no no-such-thing and no no-such-too in /usr/bin:/bin. "
        "Install it: apt-get install no-such-thing some-package."
    )


def test_a_part_that_is_in_the_store_needs_no_program_of_the_machine(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    assert yard.build({"answer": lines}).error == ""
    assert yard.build({"answer": f"{lines}\nhost-tools = no-such-thing"}).error == ""


def test_programs_of_the_parts_that_are_referred_to_are_found_first(yard: Yard) -> None:
    tool = f"""{yard.archive("tool", LIBRARY)}
post-install =
  mkdir @@LOCATION@@/bin
  printf '#!/bin/sh\\necho from the part' > @@LOCATION@@/bin/ls
  chmod 755 @@LOCATION@@/bin/ls"""
    user = f"{yard.archive('answer', LIBRARY)}\nenvironment =\n  TOOL = ${{tool:location}}\npre-build = ls"
    assert yard.build({"tool": tool, "answer": user}).error == ""
    assert "\nfrom the part\n" in yard.log("answer")


CMAKE_LIBRARY = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.10)
project(answer C)
include(GNUInstallDirs)
add_library(answer SHARED answer.c)
install(TARGETS answer DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES answer.h DESTINATION include)
""",
    "answer.h": LIBRARY["answer.h"],
    "answer.c": LIBRARY["answer.c"],
}
CMAKE_PROGRAM = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.10)
project(ask C)
find_library(ANSWER answer)
add_library(inner SHARED inner.c)
target_link_libraries(inner ${ANSWER})
add_executable(ask ask.c)
target_link_libraries(ask inner ${ANSWER})
install(TARGETS ask DESTINATION bin)
install(TARGETS inner DESTINATION lib)
""",
    "ask.c": PROGRAM["ask.c"],
    "inner.c": "int inner(void) { return 1; }\n",
}


def test_cmake_builds_beside_the_sources_and_keeps_the_rpath(yard: Yard) -> None:
    """Nothing in the profile says how; CMake by itself would install the program without any rpath."""
    mode = "\nbuild-system = cmake\nkeep-compile-dir = true"
    ask = f"{yard.archive('ask', CMAKE_PROGRAM)}{mode}\nenvironment =\n  ANSWER = ${{answer:location}}"
    result = yard.build({"answer": yard.archive("answer", CMAKE_LIBRARY) + mode, "ask": ask})
    assert result.error == ""
    done = subprocess.run([yard.part("ask") / "bin/ask"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    work = yard.store / ".work" / yard.part("ask").name
    assert (work / "build/CMakeCache.txt").is_file()
    assert sorted(path.name for path in (work / "source").iterdir()) == sorted(CMAKE_PROGRAM)


def test_options_reach_cmake_and_make(yard: Yard) -> None:
    lines = (
        f"{yard.archive('answer', CMAKE_LIBRARY)}\nbuild-system = cmake\nmake-options = VERBOSE=1\n"
        "configure-options =\n  -DCOLOUR=green\n  -DCMAKE_BUILD_TYPE=Debug\nprefix = @@LOCATION@@/usr"
    )
    assert yard.build({"answer": lines}).error == ""
    assert (yard.part("answer") / "usr/lib/libanswer.so").is_file()
    assert "-DCOLOUR=green -DCMAKE_BUILD_TYPE=Debug" in yard.log("answer")
    assert " VERBOSE=1\n" in yard.log("answer")


MESON = """\
import pathlib, sys
def main():
    _, folder, *settings = sys.argv[1:]
    print("meson", *sys.argv[1:2], *settings)
    prefix = next(word for word in settings if word.startswith("--prefix=")).partition("=")[2]
    source, build = pathlib.Path.cwd(), pathlib.Path(folder)
    build.mkdir()
    (build / "build.ninja").write_text(f"rule run\\n  command = $line\\n"
        f"build libanswer.so: run {source}/answer.c\\n"
        f"  line = gcc $flags -shared -fPIC -o libanswer.so {source}/answer.c\\n"
        f"build install: run libanswer.so\\n  line = mkdir -p {prefix}/lib && cp libanswer.so {prefix}/lib/\\n"
        "default libanswer.so\\n")
"""


def test_meson_comes_from_a_pinned_wheel(yard: Yard) -> None:
    """It is a small program of that name here, which writes what the real ninja builds."""
    digest = BlobStore(yard.release.sources).add(make_wheel(yard.place, MESON))
    files = {
        "meson.build": "project('answer', 'c')\n",
        "answer.h": LIBRARY["answer.h"],
        "answer.c": LIBRARY["answer.c"],
    }
    lines = f"{yard.archive('answer', files)}\nbuild-system = meson\npython-tools = meson\nconfigure-options = -Dx=y"
    pins = f"\n[versions]\nmeson = 1.2\n[hashes]\nmeson = sha256:{digest}"
    result = yard.build({"answer": lines + pins})
    assert result.error == ""
    part = yard.part("answer")
    assert (part / "lib/libanswer.so").is_file()
    settings = f"meson setup --prefix={part} --libdir=lib --buildtype=release --wrap-mode=nodownload -Dx=y\n"
    assert settings in yard.log("answer")
    other = BlobStore(yard.release.sources).add(make_wheel(yard.place, MESON + "# another\n"))
    assert yard.build({"answer": lines + pins.replace(digest, other)}).parts != result.parts


def test_a_program_of_a_wheel_is_a_tool_too_and_a_missing_one_is_named(yard: Yard) -> None:
    digest = BlobStore(yard.release.sources).add(make_wheel(yard.place, "def main(): ...\n"))
    lines = f"{yard.archive('answer', LIBRARY)}\npython-tools = meson\npre-build = plain && python-like a"
    pins = f"\n[versions]\nmeson = 1.2\n[hashes]\nmeson = sha256:{digest}"
    assert yard.build({"answer": lines + pins}).error == ""
    assert "plain program\nlike python ['a']\n" in yard.log("answer")
    files = {"meson.build": "", "answer.c": ""}
    result = yard.build({"answer": f"{yard.archive('answer', files)}\nbuild-system = meson"})
    if shutil.which("meson", path="/usr/bin:/bin") is None:
        assert result.error == (
            "[answer] host-tools: this machine has no meson in /usr/bin:/bin. Install it: apt-get install meson, or pin"
            " it in python-tools."
        )


def make_wheel(folder: Path, code: str) -> Path:
    """Write a wheel called meson with one entry point and two program files."""
    path = folder / "meson-1.2-py3-none-any.whl"
    info = "meson-1.2.dist-info"
    files = {
        "meson.py": code,
        "meson-1.2.data/scripts/plain": "#!/bin/sh\necho plain program\n",
        "meson-1.2.data/scripts/python-like": "#!python\nimport meson, sys\nprint('like python', sys.argv[1:])\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: meson\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nmeson = meson:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "".join(f"{name},,\n" for name in files)}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path
