# SPDX-License-Identifier: Apache-2.0
"""Recipe python.extension: C extensions that are written here, compiled by the real gcc."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import virtualenv
from tests.recipes.yard import pinned

from allotment.blobs import BlobStore
from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.store import padded_root

SETUP = """\
from setuptools import Extension, setup
setup(name="fast.kit", version="1.5", ext_modules=[Extension("fast_kit", ["fast.c"])],
      entry_points={"console_scripts": ["fast = fast_kit:main"]})
"""
CODE = """\
#include <Python.h>
#ifdef WITH_ANSWER
#include <answer.h>
#else
static int answer(void) { return 1; }
#endif
#ifndef BASE
#define BASE 0
#endif
static PyObject *value(PyObject *self, PyObject *none) { return PyLong_FromLong(BASE + answer()); }
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, ""}, {"main", value, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast_kit", 0, -1, methods};
PyMODINIT_FUNC PyInit_fast_kit(void) { return PyModule_Create(&module); }
"""
# A build backend in the sources themselves: nothing has to be installed to build them, so tests of the rest are fast.
BACKEND = """\
import os, subprocess, sys, sysconfig, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    print("building with", os.environ["PYTHONPATH"].endswith("tools/lib"), sorted(sys.modules)[:0])
    info = "fast_kit-1.5.dist-info"
    name = "fast_kit-1.5-py3-none-any.whl"
    command = os.environ.get("CC", "gcc").split() + os.environ["CFLAGS"].split() + ["-shared", "-fPIC", "-o", "x.so"]
    include = sysconfig.get_path("include")
    subprocess.run([*command, f"-I{include}", "fast.c", *os.environ["LDFLAGS"].split()], check=True)
    files = {f"{info}/METADATA": "Metadata-Version: 2.1\\nName: fast.kit\\nVersion: 1.5\\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n"}
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.write("x.so", "fast_kit.so")
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\\n" for file in [*files, "fast_kit.so"]))
    return name
"""
OWN = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n',
    "own.py": BACKEND,
    "fast.c": CODE,
}


@dataclass(frozen=True)
class Yard:
    release: Any
    place: Path

    def sdist(self, files: Mapping[str, str], name: str = "fast.kit-1.5") -> str:
        """Write a source archive; return the lines that pin it."""
        return pinned(self.place / f"{name}.tar.gz", name, files)

    def build(self, lines: str, more: str = "", parts: str = "app") -> BuildResult:
        eggs = "eggs = ${fast:egg}\ninterpreter = py"
        text = (
            f"[buildout]\nparts = {parts}\n[app]\nrecipe = allotment.recipes:python.scripts\n{eggs}\n"
            f"[fast]\nrecipe = allotment.recipes:python.extension\n{lines}\n{more}\n"
        )
        (self.release.root / "software.cfg").write_text(text)
        root, sources = self.release.root, self.release.sources
        request = BuildRequest(root, "software.cfg", self.place / "b", sources, 120.0, store=self.place / "s")
        return self.release.engine.build(request, self.place / "b/build.log")

    def run(self, program: str, *arguments: str) -> str:
        (part,) = (self.place / "b/store").glob("app-*")
        done = subprocess.run([part / "bin" / program, *arguments], capture_output=True, text=True, check=True, env={})
        return done.stdout

    @property
    def part(self) -> Path:
        (found,) = padded_root(self.place / "s").glob("fast-*")
        return found


@pytest.fixture
def yard(release: Any, short_path: Path) -> Yard:
    return Yard(release, short_path)


VALUE = ("-c", "import fast_kit; print(fast_kit.value())")
ANSWER = """\
[answer]
recipe = allotment.recipes:cmmi
path = ${:_profile_base_location_}/answer
configure-command = true
make-binary =
post-install =
  mkdir -p @@LOCATION@@/lib @@LOCATION@@/include
  gcc -shared -fPIC -o @@LOCATION@@/lib/libanswer.so answer.c
  cp answer.h @@LOCATION@@/include/
"""


def test_setuptools_compiles_against_a_part_and_scripts_see_it(yard: Yard) -> None:
    (wheel,) = sorted(Path(virtualenv.__file__).parent.glob("seed/wheels/embed/setuptools-*.whl"))[-1:]
    digest = BlobStore(yard.release.sources).add(wheel)
    version = wheel.name.split("-")[1]
    yard.release.write("answer/answer.c", "int answer(void) { return 42; }\n")
    yard.release.write("answer/answer.h", "int answer(void);\n")
    lines = yard.sdist({"setup.py": SETUP, "fast.c": CODE, "setup.cfg": "[build_ext]\nundef = X\n[other]\nKey = 1\n"})
    lines += """
egg = fast.kit
include-dirs = ${answer:location}/include
library-dirs = ${answer:location}/lib
rpath = ${answer:location}/lib
libraries = answer
define = WITH_ANSWER BASE=100
undef = NOTHING
promises = directory:lib
"""
    pins = f"[versions]\nfast.kit = 1.5\nsetuptools = {version}\n[hashes]\nsetuptools = sha256:{digest}\n"
    result = yard.build(lines, ANSWER + pins)
    assert result.error == ""
    assert yard.part.name.startswith("fast-1.5-")
    assert yard.run("py", *VALUE) == "142\n"
    assert not (yard.part / "lib/bin").exists()
    (library,) = (yard.part / "lib").glob("fast_kit*.so")
    text = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    assert "libanswer.so" in text
    assert not library.stat().st_mode & 0o222
    assert b".work" not in library.read_bytes(), "no word of the folder it was compiled in"


def test_an_own_backend_needs_nothing_else_and_patches_are_applied(yard: Yard) -> None:
    patch = "--- a/fast.c\n+++ b/fast.c\n@@ -5,1 +5,1 @@\n"
    patch += "-static int answer(void) { return 1; }\n+static int answer(void) { return 7; }\n"
    path = yard.release.write("fix.patch", patch)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = f"{yard.sdist(OWN)}\negg = fast.kit==1.5\nsetup-eggs =\nenvironment =\n  CFLAGS = -O1 -DBASE=10"
    plain = yard.build(lines)
    assert plain.error == ""
    assert yard.run("py", *VALUE) == "11\n"
    first = yard.part
    named = f"\nFast-Kit-patches = ${{:_profile_base_location_}}/fix.patch#{digest}\nfast-kit-patch-options = -p1"
    patched = yard.build(lines + named + "\nfast.kit-patch-binary = patch")
    assert patched.error == ""
    assert yard.run("py", *VALUE) == "17\n"
    same = yard.build(lines + named.replace("Fast-Kit-patches", "patches").replace("fast-kit-patch-o", "patch-o"))
    assert same.error == ""
    assert first.is_dir()
    assert plain.parts["fast"] != patched.parts["fast"]


def test_the_second_run_takes_it_from_the_store_and_removal_leaves_it_there(yard: Yard) -> None:
    lines = f"{yard.sdist(OWN)}\negg = fast.kit==1.5\nsetup-eggs ="
    first = yard.build(lines)
    made = yard.part.stat().st_ctime_ns
    assert yard.build(lines).parts == first.parts
    assert yard.part.stat().st_ctime_ns == made
    assert yard.build(lines, parts="").error == ""
    assert yard.part.is_dir()
    assert yard.build(f"{lines}\nshared = false").error == ""
    assert yard.run("py", *VALUE) == "1\n"


def test_a_run_that_is_killed_leaves_nothing_in_the_way(yard: Yard) -> None:
    once = yard.place / "b/once"
    once.parent.mkdir()
    once.touch()
    kill = f"import os, time\nif os.path.exists({str(once)!r}):\n    os.kill(0, 9)\n    time.sleep(5)\n"
    lines = f"{yard.sdist({**OWN, 'own.py': kill + BACKEND})}\negg = fast.kit==1.5\nsetup-eggs ="
    assert "signal 9" in yard.build(lines).error
    once.unlink()
    assert yard.build(lines).error == ""
    assert yard.run("py", *VALUE) == "1\n"
    root = padded_root(yard.place / "s")
    assert [path.name for path in root.iterdir() if path.suffix == ".new"] == []
    assert list((root / ".work").iterdir()) == []


def test_a_setup_cfg_that_can_t_be_read_is_an_error(yard: Yard) -> None:
    lines = f"{yard.sdist({**OWN, 'setup.cfg': 'no section'})}\negg = fast.kit==1.5\nsetup-eggs =\nlibraries = m"
    error = yard.build(lines).error
    assert error.startswith("[fast] setup.cfg of fast.kit==1.5 can't be read: File contains no section headers.")
    assert error.endswith("Patch it, or take out what only it could hand on.")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("egg =", "[fast] egg: missing option. Write its name, or name==version."),
        ("egg = a>=1", "[fast] egg: 'a>=1' is not a distribution. Write its name, or name==version."),
        ("egg = other", "[fast] egg: other is not pinned. Add 'other = <version>' to [versions]."),
        ("egg = fast.kit==1.5\nsha256sum =", "[fast] egg: fast.kit 1.5 has no hash. Add 'fast.kit = sha256:<64"),
        ("sha256sum = 12", "[fast] egg: fast.kit 1.5 has the wrong hash '12'."),
        (
            f"sha256sum =\n[hashes]\nfast-kit = {'1' * 64} {'2' * 64}",
            "[fast] sha256sum: [hashes] has several for",
        ),
        ("setup-eggs = none", "[fast] setup-eggs: none is not pinned. Add 'none = <version>' to [versions]."),
        ("other-patches = x", "[fast] other-patches: unknown option. Did you mean 'fast-kit-patches'?"),
        ("patches = x", "[fast] patches: 'x' has no sha256."),
        ("egg = fast.kit==1.6", "pip can't install fast.kit==1.6: "),
        ("md5sum = 1", "[fast] md5sum: '1' is not an md5."),
        ("environment =\n  CC = false", "[fast] build the wheel failed with exit code 1:"),
        ("python-tools = none", "[fast] python-tools: none is not pinned."),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(yard: Yard, lines: str, message: str) -> None:
    base = {"egg": "fast.kit==1.5", "setup-eggs": ""}
    url, digest = yard.sdist(OWN).splitlines()
    base |= {"url": url.partition(" = ")[2], "sha256sum": digest.partition(" = ")[2]}
    own = [f"{name} = {text}" for name, text in base.items() if not f"\n{lines}".count(f"\n{name} =")]
    error = yard.build("\n".join([*own, lines])).error
    assert message in error
