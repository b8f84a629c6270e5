# SPDX-License-Identifier: Apache-2.0
"""Recipe cmmi with the real compiler: how parts are built, reused, kept and removed, and what is wrong with them."""

import hashlib
import json
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.recipes.yard import LIBRARY, PROGRAM, Yard

from allotment.cli import main
from allotment.codec import decode
from allotment.messages.job import BuiltPart
from allotment_recipes import elf
from allotment_recipes.store import ROOT_LENGTH, padded_root


def test_a_program_finds_the_library_it_was_built_with(yard: Yard) -> None:
    """No flag in the profile says where the library is, and none is needed to run."""
    ask = yard.archive("ask", PROGRAM) + "\nenvironment =\n  ANSWER = ${answer:location}"
    result = yard.build({"answer": yard.archive("answer", LIBRARY), "ask": ask})
    assert result.error == ""
    assert sorted(result.parts) == ["answer", "ask"]
    done = subprocess.run([yard.part("ask") / "bin/ask"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_the_store_s_root_has_one_length_and_parts_are_read_only(yard: Yard) -> None:
    assert yard.build({"answer": yard.archive("answer", LIBRARY)}).error == ""
    part = yard.part("answer")
    assert len(str(part.parent)) == ROOT_LENGTH
    assert re.fullmatch(r"answer-1\.0-[0-9a-f]{32}", part.name)
    modes = {path.relative_to(part).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in part.rglob("*")}
    assert modes["include/answer.h"] == 0o444
    assert modes["lib"] == 0o555
    assert not any(mode & 0o222 for mode in modes.values())
    assert not stat.S_IMODE(part.stat().st_mode) & 0o222
    note = json.loads((part.parent / ".built" / f"{part.name}.json").read_text())
    assert note["part"] == "answer"
    assert note["bytes"] > 0


def test_a_second_release_takes_the_part_from_the_store(yard: Yard) -> None:
    sections = {"answer": yard.archive("answer", LIBRARY)}
    first = yard.build(sections, "one")
    written = yard.part("answer").stat().st_ctime_ns
    second = yard.build(sections, "two")
    assert (first.error, second.error) == ("", "")
    assert first.parts == second.parts
    assert yard.part("answer").stat().st_ctime_ns == written


def test_a_build_tells_of_each_shared_part_whether_it_was_reused(yard: Yard) -> None:
    sections = {"answer": yard.archive("answer", LIBRARY)}
    for folder, is_reused in (("one", False), ("two", True), ("one", True)):
        assert yard.build(sections, folder).error == ""
        (line,) = (yard.place / folder / ".parts.jsonl").read_text().splitlines()
        part = decode(BuiltPart, json.loads(line))
        assert (part.name, part.version, part.is_reused, part.seconds == 0) == ("answer", "1.0", is_reused, is_reused)


def test_the_steps_run_in_order_in_a_clean_environment(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = """
pre-configure = echo step pre-configure
configure-options =
  --with-one
  --with-two="a b"
pre-build = echo step pre-build $COLOUR
pre-install = echo step pre-install
post-install =
  env > @@LOCATION@@/environment
  echo step post-install
environment =
  COLOUR = green
  PATH = /opt/none:%(PATH)s
  LDFLAGS = -Wl,-O1
"""
    result = yard.build({"answer": yard.archive("answer", LIBRARY) + steps.replace("env >", "env | grep -v /.work/ >")})
    assert result.error == ""
    log = yard.log("answer")
    assert re.findall(r"^step .*", log, re.MULTILINE) == [
        "step pre-configure",
        "step pre-build green",
        "step pre-install",
        "step post-install",
    ]
    part = yard.part("answer")
    assert f"configured with: --prefix={part} --with-one --with-two=a b\n" in log
    variables = dict(line.split("=", 1) for line in (part / "environment").read_text().splitlines())
    assert variables["PATH"] == "/opt/none:/usr/bin:/bin"
    assert variables["LDFLAGS"] == f"-Wl,-O1 -Wl,-rpath={part}/lib"
    assert not {"HOME", "TMPDIR"} & set(variables), "they are in the work folder"
    known = {"CFLAGS", "CXXFLAGS", "COLOUR", "LC_ALL", "LDFLAGS", "LD_RUN_PATH", "PATH", "PKG_CONFIG_LIBDIR"}
    assert set(variables) - known == {"PWD", "SOURCE_DATE_EPOCH", "TZ"} - ({"PWD"} - set(variables))


def test_location_is_replaced_in_options_that_others_read(yard: Yard) -> None:
    reader = yard.archive("ask", LIBRARY) + "\npre-configure = echo other is ${answer:make-options}"
    lines = yard.archive("answer", LIBRARY) + "\nmake-options = PREFIX=@@LOCATION@@"
    assert yard.build({"answer": lines, "ask": reader}).error == ""
    assert f"other is PREFIX={yard.part('answer')}\n" in yard.log("ask")


def test_the_environment_may_be_a_section(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY) + "\nenvironment = variables\npre-build = echo colour $COLOUR"
    yard.write({"answer": lines})
    with (yard.release.root / "software.cfg").open("a") as file:
        file.write("[variables]\nCOLOUR = @@LOCATION@@/red\n")
    first = yard.again()
    assert first.error == ""
    assert f"colour {yard.part('answer')}/red\n" in yard.log("answer")
    path = yard.release.root / "software.cfg"
    path.write_text(path.read_text().replace("/red", "/blue"))
    assert yard.again().parts != first.parts


def test_a_patch_that_is_applied_already_is_an_error(yard: Yard) -> None:
    """patch itself would take it out again, asked nothing."""
    text = "--- answer.h\n+++ answer.h\n@@ -1 +1 @@\n-int question(void);\n+int answer(void);\n"
    path = yard.release.write("the answer.patch", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    patch = f"\npatches = ${{:_profile_base_location_}}/the answer.patch#{digest}"
    result = yard.build({"answer": yard.archive("answer", LIBRARY) + patch})
    assert "[answer] patch the answer.patch failed with exit code 1" in result.error
    assert "Reversed (or previously applied) patch detected!  Skipping patch." in result.error


def test_a_failed_build_says_what_where_and_how_to_go_on(yard: Yard) -> None:
    broken = {**LIBRARY, "answer.c": "int answer(void) { return forty_two; }\n"}
    result = yard.build({"answer": yard.archive("answer", broken)})
    assert result.error.startswith("[answer] make failed with exit code 2: make\n")
    assert "  | answer.c:1:27: error: 'forty_two' undeclared (first use in this function)\n" in result.error
    log, folder = re.findall(r"^  (?:log|folder): (.*)$", result.error, re.MULTILINE)
    assert "configured with:" in Path(log).read_text()
    assert (Path(folder) / "answer.c").is_file()
    assert f"  to try by hand: allot build --shell answer --folder {yard.place / 'built'}\n" in result.error
    assert list(yard.store.glob("answer-*")) == [], "nothing has the part's name"
    assert list(yard.store.glob(".*.new")) == []


def test_shell_enters_the_environment_of_the_failed_build(yard: Yard) -> None:
    broken = {**LIBRARY, "answer.c": "int answer(void) { return forty_two; }\n"}
    yard.build({"answer": yard.archive("answer", broken) + "\nenvironment =\n  COLOUR = green"})
    script = "pwd; echo $COLOUR $HOME; sed -i s/forty_two/42/ answer.c; make >&2 && echo mended\n"
    command = [sys.executable, "-m", "allotment", "build", "--shell", "answer", "--folder", yard.place / "built"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=True)
    place, values, *rest = done.stdout.splitlines()
    assert place.endswith("/source")
    assert values.startswith("green ") and values.endswith("/home")
    assert rest == ["mended"]


def test_shell_names_the_parts_that_can_be_entered(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    yard.build({"answer": yard.archive("answer", {**LIBRARY, "answer.c": "error\n"})})
    assert main(["build", "--shell", "anser", "--folder", str(yard.place / "built")]) == 1
    assert capsys.readouterr().err == (
        f"error: no build folder of 'anser' is left in {yard.place / 'built'}. Did you mean 'answer'? Valid: answer.\n"
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("make-targets = nothing", "make install failed with exit code 2"),
        ("pre-build = no-such", "not found. A program is missing: install it and name it in host-tools."),
        ("configure-command =\npre-configure = rm configure", "no configure script"),
        ("configure-command = true\nmake-binary = true", "make install wrote nothing into"),
        ("configure-command = true\nmake-binary =", "make install wrote nothing into"),
        ("environment = nowhere", "[answer] refers to the section 'nowhere', which does not exist. Did you mean"),
        ("environment =\n  A b", "[answer] environment: 'A b' is neither NAME=value nor a section. Write one of them."),
        ("environment =\n  A = %(NONE)s", "A asks for %(NONE)s, which is not set"),
        ("pre-build = test -e ${buildout:directory}", "[answer] pre-build: names "),
        ("debian-source = nginx", "'nginx' is not 'package version suite'"),
        ("md5sum = 12", "[answer] md5sum: '12' is not an md5. Give 32 hex"),
        (f"patches = fix.patch#{'0' * 64}", ", or write ${:_profile_base_location_}/fix.patch for a file beside the"),
        (f"patches = /nowhere/fix.patch#{'0' * 64}", "No such file or directory. Correct the path."),
        ("patches = fix.patch", "[answer] patches: 'fix.patch' has no sha256. Write <path or URL>#<64 hex"),
        ("url =", "[answer] url: missing option. Add 'url = ...', 'debian-source = ...' or 'path = ...'."),
        ("prefix = /usr", "[answer] prefix: '/usr' is outside of the part. Begin it with @@LOCATION@@."),
        ("prefix = @@LOCATION@@/../x", "[answer] prefix: '@@LOCATION@@/../x' is outside of the part."),
        ("prefixes = /usr", "[answer] prefixes: unknown option. Did you mean 'prefix'?"),
        ("path = /none", "[answer] path: stands beside an address of the sources. Take one of the two out."),
        ("path = /none\nurl =", "[answer] path: /none is neither in the profile's tree nor of another part. Write ${"),
        ("path = ${:_profile_base_location_}/none\nurl =", "/none. Correct it."),
        ("build-system = cmake", "[answer] configure-command: the sources have no CMakeLists.txt. Write 'configure-"),
        ("build-system = bazel", "[answer] build-system: 'bazel' is not one of its values. Valid: cmake,"),
        ("python-tools = meson", "[answer] python-tools: meson is not pinned. Add 'meson = <version>' to [versions]."),
        ("promises = file:", "[answer] promises: 'file:' is no promise. Write a path, or directory:PATH, file:PATH,"),
        ("promises = program:bin/x", "[answer] promises: 'program:bin/x' is no promise."),
        ("promises = file:lib/x linked:y", "[answer] promises: 'linked:y' in 'file:lib/x linked:y' is not read. "),
        ("promises =\n  lib/gone\n  statlib:lib/libanswer.so", "[answer] promises: it is built, but not as"),
        ("patch-binary = no-such\npatches = ${:_profile_base_location_}/software.cfg#0", "[answer] patches: '"),
        ("version = 1/2", "[answer] version, or the section's name: '1/2' can't be part of a folder's name. Use"),
    ],
)  # fmt: skip
def test_a_wrong_section_is_an_error_that_names_it(yard: Yard, sections: str, message: str) -> None:
    assert message in yard.build({"answer": f"{yard.archive('answer', LIBRARY)}\n{sections}"}).error


def test_a_part_of_the_release_s_own_is_removed_with_it(yard: Yard) -> None:
    lines = (
        yard.archive("answer", LIBRARY) + "\nshared = false\npost-install = echo ${buildout:directory} > @@LOCATION@@/x"
    )
    assert yard.build({"answer": lines}).error == ""
    (part,) = (yard.place / "built/store").glob("answer-*")
    assert (part / "lib/libanswer.so.1").is_file()
    assert yard.build({"other": yard.archive("answer", LIBRARY)}).error == ""
    assert not part.exists()
    assert yard.part("other").is_dir()


def test_a_step_before_may_write_the_configure_script(yard: Yard) -> None:
    lines = yard.archive("answer", {**LIBRARY, "autogen.sh": "#!/bin/sh\nmv configure.txt configure\n"})
    assert yard.build({"answer": f"{lines}\npre-configure =\n  mv configure configure.txt\n  ./autogen.sh"}).error == ""


def test_a_store_whose_path_is_too_long_is_refused(yard: Yard) -> None:
    yard.write({"answer": yard.archive("answer", LIBRARY)})
    far = yard.place / ("x" * 140)
    result = yard.release.engine.build(replace(yard.request("built"), store=far), yard.place / "log")
    assert result.error == (
        f"the store's folder {far} has a path of {len(str(far))} bytes, and no more than {ROOT_LENGTH - 2} are "
        "possible. Choose a folder with a shorter path."
    )


def test_a_store_that_was_moved_is_refused_until_it_is_back(yard: Yard) -> None:
    """Its parts know each other by path; also where the new one is as long as the old."""
    yard.write({"answer": yard.archive("answer", LIBRARY)})
    assert yard.again().error == ""
    moved = yard.place / "t"
    (yard.place / "s").rename(moved)
    result = yard.release.engine.build(replace(yard.request("built"), store=moved), yard.place / "log")
    assert (result.cause, result.error) == (
        "machine",
        f"the store {padded_root(moved)} was moved: its parts were built for {yard.store}. "
        "Move it back, or remove it: what is needed is built anew.",
    )
    moved.rename(yard.place / "s")
    assert yard.again().error == ""


def test_upstream_s_command_builds_a_changed_part_anew_and_removes_it(yard: Yard) -> None:
    """Parts have no hash in their names there; what is installed is all that it knows of a part."""
    seen = []
    lines = yard.archive("answer", LIBRARY)
    for parts, extra in (("answer", ""), ("answer", "\npost-install = touch @@LOCATION@@/more"), ("", "")):
        profile = (
            f"[buildout]\nparts = {parts}\noffline = true\n[answer]\nrecipe = allotment.recipes:cmmi\n{lines}{extra}\n"
        )
        (yard.place / "buildout.cfg").write_text(profile)
        command = [Path(sys.executable).with_name("buildout"), "-c", yard.place / "buildout.cfg"]
        done = subprocess.run(command, cwd=yard.place, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        part = yard.place / "parts/answer"
        seen.append((part.exists(), (part / "more").exists()))
        assert not part.exists() or part.stat().st_mode & 0o200, "or an ordinary user could not remove it"
    assert seen == [(True, False), (True, True), (False, False)]


def test_the_compile_folder_is_kept_when_asked(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    assert yard.build({"answer": lines}).error == ""
    assert list((yard.store / ".work").iterdir()) == []
    assert yard.build({"other": lines + "\nkeep-compile-dir = true"}).error == ""
    (work,) = (yard.store / ".work").iterdir()
    assert (work / "source/answer.c").is_file()
    assert (yard.place / "built/.build/other").readlink() == work


def test_a_part_of_recipe_source_is_built_and_not_linked_to(yard: Yard) -> None:
    lines = yard.archive("tree", LIBRARY)
    result = yard.build({"answer": f"path = ${{tree:location}}\n[tree]\nrecipe = allotment.recipes:source\n{lines}"})
    assert result.error == ""
    assert (yard.part("answer") / "lib/libanswer.so.1").is_file()
    assert (yard.part("tree") / "answer.c").is_file()
    found = elf.read(yard.part("answer") / "lib/libanswer.so.1")
    assert found is not None
    assert found.search == (f"{yard.part('answer')}/lib",)
