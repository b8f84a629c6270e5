# SPDX-License-Identifier: Apache-2.0
"""Recipe cmmi with the real compiler: small C libraries and programs that are written here."""

import hashlib
import io
import json
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.cli import main
from allotment.codec import decode
from allotment.errors import MachineError
from allotment.messages.job import BuiltPart
from allotment_recipes import elf
from allotment_recipes.compiler import compiler, learn_compiler
from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.manifest import build_release, install_release
from allotment_recipes.recipes.cmmi import Recipe
from allotment_recipes.store import ROOT_LENGTH, padded_root

CONFIGURE = """\
#!/bin/sh
prefix=/usr/local
for word in "$@"; do case "$word" in --prefix=*) prefix="${word#--prefix=}";; esac; done
echo "configured with: $*"
sed "s|@prefix@|$prefix|g" Makefile.in > Makefile
"""
LIBRARY = {
    "configure": CONFIGURE,
    "answer.h": "int answer(void);\n",
    "answer.c": '#include "answer.h"\nint answer(void) { return 42; }\n',
    "Makefile.in": """\
all: libanswer.so.1
libanswer.so.1: answer.c
\t$(CC) $(CFLAGS) -shared -fPIC -Wl,-soname,libanswer.so.1 -o $@ answer.c
install: all
\tmkdir -p @prefix@/lib @prefix@/include
\tcp libanswer.so.1 @prefix@/lib/
\tln -sf libanswer.so.1 @prefix@/lib/libanswer.so
\tcp answer.h @prefix@/include/
""",
}
PROGRAM = {
    "configure": CONFIGURE,
    "ask.c": '#include <answer.h>\n#include <stdio.h>\nint main(void) { printf("%d\\n", answer()); return 0; }\n',
    "Makefile.in": """\
ask: ask.c
\t$(CC) $(CFLAGS) -o $@ ask.c -lanswer
install: ask
\tmkdir -p @prefix@/bin
\tcp ask @prefix@/bin/
""",
}


@dataclass(frozen=True)
class Yard:
    """Releases that are built from archives made here, into one store."""

    release: Any
    place: Path

    def archive(self, name: str, files: Mapping[str, str]) -> str:
        """Write a source archive; return the lines of a section that pin it."""
        path = self.place / f"{name}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for member, text in files.items():
                info = tarfile.TarInfo(f"{name}-1.0/{member}")
                info.size = len(text.encode())
                info.mode = 0o755 if text.startswith("#!") else 0o644
                archive.addfile(info, io.BytesIO(text.encode()))
        return f"url = {path}\nsha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}"

    def write(self, sections: Mapping[str, str]) -> None:
        """Write software.cfg with a part for each section; lines that begin a section are added."""
        text = f"[buildout]\nparts = {' '.join(sections)}\n"
        for name, lines in sections.items():
            text += f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1.0\n{lines}\n"
        self.release.write("software.cfg", text)

    def build(self, sections: Mapping[str, str], folder: str = "built") -> BuildResult:
        """Build a release of these parts into ``folder``."""
        self.write(sections)
        return self.again(folder)

    def again(self, folder: str = "built") -> BuildResult:
        return self.release.engine.build(self.request(folder), self.place / folder / "build.log")

    def request(self, folder: str) -> BuildRequest:
        root, sources = self.release.root, self.release.sources
        return BuildRequest(root, "software.cfg", self.place / folder, sources, 60.0, store=self.place / "s")

    @property
    def store(self) -> Path:
        return padded_root(self.place / "s")

    def part(self, name: str) -> Path:
        (path,) = self.store.glob(f"{name}-*")
        return path

    def log(self, name: str) -> str:
        return (self.store / ".log" / f"{self.part(name).name}.log").read_text()


@pytest.fixture
def yard(release: Any, short_path: Path) -> Yard:
    return Yard(release, short_path)


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


def test_a_changed_dependency_gives_its_users_another_name(yard: Yard) -> None:
    ask = yard.archive("ask", PROGRAM) + "\nenvironment =\n  ANSWER = ${answer:location}"
    first = yard.build({"answer": yard.archive("answer", LIBRARY), "ask": ask})
    other = {**LIBRARY, "answer.c": LIBRARY["answer.c"].replace("42", "43")}
    second = yard.build({"answer": yard.archive("answer", other), "ask": ask})
    assert (first.error, second.error) == ("", "")
    assert not set(first.parts.values()) & set(second.parts.values())
    assert len(list(yard.store.glob("ask-*"))) == 2


def test_what_is_only_said_about_a_part_does_not_rename_it(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    first = yard.build({"answer": lines})
    said = yard.build(
        {"answer": f"{lines}\ndescription = The answer\nlicence = MIT\npurl = pkg:generic/a\nalternates =\n  file:///x"}
    )
    assert said.error == ""
    assert first.parts == said.parts


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


def test_a_patch_is_applied_and_is_an_input(yard: Yard) -> None:
    text = (
        "--- a/answer.c\n+++ b/answer.c\n@@ -1,2 +1,2 @@\n"
        ' #include "answer.h"\n-int answer(void) { return 42; }\n+int answer(void) { return 7; }\n'
    )
    path = yard.release.write("answer.patch", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    patch = f"\npatches = ${{:_profile_base_location_}}/answer.patch#{digest}\npatch-options = -p1"
    lines = yard.archive("answer", LIBRARY)
    plain = yard.build({"answer": lines})
    patched = yard.build({"answer": lines + patch})
    assert patched.error == ""
    assert plain.parts != patched.parts
    path.write_text(text + "\n")
    wrong = yard.again()
    assert re.fullmatch(
        r"\[answer\] patches: the checksum of .*/answer\.patch is \w{64}, not \w{64}\. Correct one of them\.",
        wrong.error,
    )


def test_a_patch_that_is_applied_already_is_an_error(yard: Yard) -> None:
    """patch itself would take it out again, asked nothing."""
    text = "--- answer.h\n+++ answer.h\n@@ -1 +1 @@\n-int question(void);\n+int answer(void);\n"
    path = yard.release.write("the answer.patch", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    patch = f"\npatches = ${{:_profile_base_location_}}/the answer.patch#{digest}"
    result = yard.build({"answer": yard.archive("answer", LIBRARY) + patch})
    assert "[answer] patch the answer.patch failed with exit code 1" in result.error
    assert "Reversed (or previously applied) patch detected!  Skipping patch." in result.error


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ("html/index.html", "post-install = cp -r ${:_profile_base_location_}/html @@LOCATION@@/"),
        ("html/index.html", "post-install = cp ${:_profile_base_location_}/html/*.html @@LOCATION@@/"),
        ("conf", "post-install = cd ${:_profile_base_location_} && cp conf @@LOCATION@@/"),
        ("conf", "environment = variables\npost-install = cp $CONF @@LOCATION@@/"),
        ("conf", "environment = CONF = ${:_profile_base_location_}/conf\npost-install = cp $CONF @@LOCATION@@/"),
    ],
)
def test_a_file_of_the_profile_is_an_input_however_it_is_named(yard: Yard, changed: str, lines: str) -> None:
    section = f"{yard.archive('answer', LIBRARY)}\n{lines}\n[variables]\nCONF = ${{:_profile_base_location_}}/conf"
    found = []
    for text, mode in (("old", 0o644), ("new", 0o644), ("new", 0o755), ("old", 0o644)):
        for name in ("html/index.html", "conf"):
            yard.release.write(name, text if name == changed else "same").chmod(mode if name == changed else 0o644)
        result = yard.build({"answer": section})
        assert result.error == ""
        found.append(result.parts["answer"])
        (part,) = yard.store.glob(f"answer-*{result.parts['answer'][:32]}")
        (copy,) = part.rglob(Path(changed).name)
        assert copy.read_text() == text
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_files_that_no_option_names_are_no_inputs(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    first = yard.build({"answer": lines})
    yard.release.write("other", "new")
    assert yard.build({"answer": lines}).parts == first.parts


def fake_gcc(folder: Path, text: str) -> str:
    path = folder / "gcc"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(folder)


def test_the_compiler_in_the_hash_is_the_one_that_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.cache_clear()
    monkeypatch.setenv("PATH", fake_gcc(tmp_path, "echo 99.9.9"), prepend=":")
    done = subprocess.run(["/usr/bin/gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    assert compiler() == f"gcc {done.stdout.strip()}"


def test_another_compiler_gives_another_name(tmp_path: Path, make_recipe: Callable[..., Any]) -> None:
    recipe = make_recipe(Recipe, {"url": "/x", "sha256sum": "0" * 64})
    assert recipe.inputs()["compiler"] == compiler() != ""
    assert compiler(fake_gcc(tmp_path, "echo 99.9.9")) == "gcc 99.9.9"


def test_a_compiler_that_was_learnt_is_looked_at_again_by_each_process(tmp_path: Path) -> None:
    version = tmp_path / "version"
    path = fake_gcc(tmp_path, f"/bin/cat {version}")
    for text in ("1.2.3", "1.2.4"):
        version.write_text(text)
        learn_compiler()
        assert compiler(path) == f"gcc {text}"


def test_a_part_is_known_by_the_compiler_of_the_request_and_built_by_no_other(yard: Yard) -> None:
    sections = {"answer": yard.archive("answer", LIBRARY)}
    here = yard.build(sections)
    same = yard.release.engine.build(replace(yard.request("same"), compiler=compiler()), yard.place / "same.log")
    assert (same.error, same.parts) == ("", here.parts)
    other = yard.release.engine.build(replace(yard.request("other"), compiler="gcc 1.2.3"), yard.place / "other.log")
    assert other.error == (
        f"[answer] is known as built with gcc 1.2.3, and here is {compiler()}. "
        "Name a binary cache that has the part, or install gcc 1.2.3."
    )


def test_a_compiler_that_says_nothing_is_an_error_and_none_is_none(tmp_path: Path) -> None:
    assert compiler(str(tmp_path)) == ""
    compiler.cache_clear()
    with pytest.raises(MachineError, match=f"^{tmp_path}/gcc doesn't tell its version: .* Install gcc anew"):
        compiler(fake_gcc(tmp_path, "exit 1"))


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
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=30, check=True)
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


def test_a_part_of_the_release_s_own_takes_libraries_from_shared_ones(yard: Yard) -> None:
    ask = yard.archive("ask", PROGRAM) + "\nshared = false\nenvironment =\n  ANSWER = ${answer:location}"
    assert yard.build({"answer": yard.archive("answer", LIBRARY), "ask": ask}).error == ""
    (part,) = (yard.place / "built/store").glob("ask-*")
    done = subprocess.run([part / "bin/ask"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


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


def test_the_compile_folder_is_kept_when_asked(yard: Yard) -> None:
    lines = yard.archive("answer", LIBRARY)
    assert yard.build({"answer": lines}).error == ""
    assert list((yard.store / ".work").iterdir()) == []
    assert yard.build({"other": lines + "\nkeep-compile-dir = true"}).error == ""
    (work,) = (yard.store / ".work").iterdir()
    assert (work / "source/answer.c").is_file()
    assert (yard.place / "built/.build/other").readlink() == work


def test_what_is_installed_elsewhere_has_the_hash_that_was_proved(
    yard: Yard, write_tiny: Callable[[Path], Path]
) -> None:
    """A node has another folder and another store; the part's name is the same, and it is built for its place."""
    profile = write_tiny(yard.place / "tree")
    text = profile.read_text().replace("parts = profile", "parts = profile answer")
    profile.write_text(f"{text}\n[answer]\nrecipe = allotment.recipes:cmmi\n{yard.archive('answer', LIBRARY)}\n")
    place, engine, sources = yard.place, yard.release.engine, yard.release.sources
    built = build_release(profile, place / "tree", place / "farm", sources, engine, place / "log", store=place / "s")
    node = place / "node/store"
    result = install_release(
        built.manifest, built.closure, place / "node/sr", sources, engine, place / "log2", store=node
    )
    assert result.error == ""
    (there,) = padded_root(node).glob("answer-*")
    assert there.name == yard.part("answer").name
    again = install_release(
        built.manifest, built.closure, place / "node/sr2", sources, engine, place / "log3", store=place / "s"
    )
    assert again.error == ""
    assert "building answer" not in (place / "log3").read_text(), "it is in that store already"


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


def test_a_folder_of_the_profile_s_tree_is_a_source_and_an_input(yard: Yard) -> None:
    for name, text in LIBRARY.items():
        yard.release.write(f"src of mine/{name}", text).chmod(0o755 if name == "configure" else 0o644)
    lines = "path = ${:_profile_base_location_}/src of mine"
    first = yard.build({"answer": lines})
    assert first.error == ""
    assert not (yard.release.root / "src of mine/Makefile").exists(), "the tree itself is left alone"
    yard.release.write("src of mine/answer.c", LIBRARY["answer.c"].replace("42", "43"))
    second = yard.build({"answer": lines})
    assert second.error == ""
    assert first.parts != second.parts


def test_a_part_of_recipe_source_is_built_and_not_linked_to(yard: Yard) -> None:
    lines = yard.archive("tree", LIBRARY)
    result = yard.build({"answer": f"path = ${{tree:location}}\n[tree]\nrecipe = allotment.recipes:source\n{lines}"})
    assert result.error == ""
    assert (yard.part("answer") / "lib/libanswer.so.1").is_file()
    assert (yard.part("tree") / "answer.c").is_file()
    found = elf.read(yard.part("answer") / "lib/libanswer.so.1")
    assert found is not None
    assert found.search == (f"{yard.part('answer')}/lib",)


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
