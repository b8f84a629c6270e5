# SPDX-License-Identifier: Apache-2.0
"""``[buildout] extensions = allotment.recipes``: what upstream's command has then, a test for each line of the page."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.recipes.variant.conftest import SAID, SHOW, TOOL, Yard

from allotment.blobs import BlobStore
from allotment_recipes import installed_parts
from allotment_recipes.hermetic.sandbox import refusal
from allotment_recipes.lock_file import Contents, Pin, text_of
from allotment_recipes.testing import FakeSources


def test_recipes_by_the_names_of_slapos(yard: Yard) -> None:
    sections = """\
[text]
recipe = slapos.recipe.template:jinja2
inline = hello
rendered = ${buildout:directory}/text
[script]
recipe = slapos.cookbook:wrapper
command-line = /bin/cat ${text:rendered}
wrapper-path = ${buildout:bin-directory}/cat
[command]
recipe = plone.recipe.command
command = ${script:wrapper-path} > ${buildout:directory}/copy
"""
    yard.profile(sections, extended=False)
    assert "slapos.recipe.template" in yard.fails()
    yard.profile(sections)
    said = yard.works()
    assert SAID in said
    assert "unused option" not in said
    assert yard.text("copy") == "hello"
    assert "Updating command." in yard.works()
    yard.profile("")
    assert "Uninstalling text." in yard.works()
    assert not (yard.folder / "text").exists()
    assert not (yard.folder / "bin/cat").exists()


def test_profile_base_location(yard: Yard) -> None:
    yard.write("base/base.cfg", "[place]\nhere = ${:_profile_base_location_}\n")
    sections = f"{SHOW}inline = ${{place:here}} ${{:_profile_base_location_}}\n"
    yard.profile(sections, extends="base/base.cfg", extended=False)
    assert "Referenced option does not exist" in yard.fails()
    yard.profile(sections, extends="base/base.cfg")
    yard.works()
    assert yard.text("shown") == f"{yard.folder}/base {yard.folder}"


def test_values_that_are_no_texts(yard: Yard) -> None:
    sections = f'{SHOW}inline = {{{{ a["list"][1] }}}}\ncontext = section a a\n[a]\nlist = !py!["x", "y"]\n'
    yard.profile(sections, extended=False)
    yard.works()
    assert yard.text("shown") == "p", "of the text !py!..."
    yard.profile(sections)
    yard.works()
    assert yard.text("shown") == "y"


def test_profiles_are_read_as_by_allot_build(yard: Yard) -> None:
    """Of what docs/explanation/buildout-variant tells of reading: macros, diamonds, names of sections."""
    yard.write("base.cfg", "[macro]\nk = 1\n[a]\n<= macro\nn = 0\n")
    for side in ("left", "right"):
        yard.write(f"{side}.cfg", f"[buildout]\nextends = base.cfg\n[a]\nk += {side}\nn += {side}\n[{side}]\n")
    sections = SHOW + 'inline = {{ (k ~ n ~ name).split() | join(" ") }}\n'
    sections += (
        "context =\n  key k a:k\n  key n a:n\n  key name left:name\n[left]\nname = ${right:_buildout_section_name_}\n"
    )
    shown = {}
    for extended in (False, True):
        yard.profile(sections, extends="left.cfg right.cfg", extended=extended)
        yard.works()
        shown[extended] = yard.text("shown")
    assert shown[True] == "1 left right0 left rightright"
    assert shown[False] != shown[True]


def test_sources_of_the_lock(yard: Yard, sources: FakeSources, tmp_path: Path) -> None:
    served = sources.serve("page.html", b"hello")
    page = f"[page]\nrecipe = slapos.recipe.build:download\nurl = {served.url}\nmd5sum = {served.md5}\n"
    yard.profile(page)
    assert yard.fails() == (
        f"[page] url: {served.url} has no sha256, and allot.lock has none for it with the md5 {served.md5}. "
        "Run 'allot lock buildout.cfg' once and commit allot.lock, or add 'sha256sum = ...'.\n"
    )
    allot = [sys.executable, "-m", "allotment", "lock", "buildout.cfg", "--sources", tmp_path / "sources"]
    subprocess.run(allot, cwd=yard.folder, timeout=60, check=True, capture_output=True)
    yard.works()
    (found,) = yard.folder.glob("store/*/page.html")
    assert found.read_bytes() == b"hello"
    yard.write("allot.lock", text_of(Contents({Pin(served.url, served.md5): "0" * 64})))
    assert "sha256" in yard.fails()
    yard.write("allot.lock", "nonsense\n")
    assert "allot.lock, line 1: it is no line of a lock file" in yard.fails()


def test_profiles_behind_a_url_are_pinned(yard: Yard, sources: FakeSources) -> None:
    served = sources.serve("stack.cfg", b"[place]\nname = stack\n")
    yard.profile(f"{SHOW}inline = ${{place:name}}\n", extends=served.url)
    code, said = yard.run()
    assert code == 1
    assert f"[buildout] extends: {served.url} has no sha256, and allot.lock has none for it" in said
    yard.profile(f"{SHOW}inline = ${{place:name}}\n", extends=f"{served.url}#sha256={'0' * 64}")
    assert yard.run()[0] == 1
    assert not (yard.folder / "shown").exists()
    yard.profile(f"{SHOW}inline = ${{place:name}}\n", extends=f"{served.url}#sha256={served.sha256}")
    code, said = yard.run()
    assert code == 0, said
    assert yard.text("shown") == "stack"


def test_patches_beside_the_profile_are_pinned_with_it(yard: Yard) -> None:
    yard.write("fix.patch", "--- made\n+++ made\n@@ -1 +1 @@\n-made\n+patched\n")
    archive = yard.archive("tool", {"configure": "#!/bin/sh\n", "Makefile": "install:\n", "made": "made\n"})
    extra = "post-install = cp made ${:_profile_base_location_}/out || cp made @@LOCATION@@/out\n"
    patch = "patches = ${:_profile_base_location_}/fix.patch\n"
    yard.profile(f"[tool]\nrecipe = slapos.recipe.cmmi\n{archive}{patch}{extra}")
    yard.works()
    (out,) = yard.folder.glob("store/tool-*/out")
    assert out.read_text() == "patched\n"
    assert "Updating tool." in yard.works()


def wheel(folder: Path) -> Path:
    """Write a wheel of ``greet`` by hand."""
    path = folder / "greet-1.0-py3-none-any.whl"
    info = "greet-1.0.dist-info"
    files = {
        "greet.py": "def main():\n    print('hello')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngreet = greet:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


def test_eggs_have_hashes(yard: Yard) -> None:
    app = "[app]\nrecipe = zc.recipe.egg\neggs = greet\n"
    yard.profile(f"{app}[versions]\ngreet = 1.0\n")
    assert "[app] eggs: allot.lock has no wheels for greet. Run 'allot lock buildout.cfg' once" in yard.fails()
    sha256 = BlobStore(yard.folder / ".allotment/sources").add(wheel(yard.folder))
    yard.write("allot.lock", text_of(Contents(eggs={("greet",): {"greet": ("1.0", sha256)}})))
    yard.works()
    script = yard.folder / "bin/greet"
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "hello\n"
    own = "[app]\nrecipe = allotment.recipes:python.scripts\neggs = greet\n"
    yard.profile(own)
    assert "[app] eggs: greet" in yard.fails()
    assert "[versions]" in yard.fails()


def test_versions_are_not_picked(yard: Yard) -> None:
    show = f"{SHOW}inline = ${{buildout:allow-picked-versions}}\n"
    yard.profile(show, extended=False)
    yard.works()
    assert yard.text("shown") == "true"
    yard.profile(show)
    yard.works()
    assert yard.text("shown") == "false"
    yard.works("buildout:allow-picked-versions=true")
    assert yard.text("shown") == "true"
    yard.profile(show, buildout="allow-picked-versions = true")
    yard.works()
    assert yard.text("shown") == "true", "a profile in development says so"


def test_downloads_have_a_checksum(yard: Yard) -> None:
    yard.profile("[page]\nrecipe = allotment.recipes:download\nurl = http://localhost:1/page\n")
    assert "[page] sha256sum" in yard.fails()


def test_recipes_are_installed_where_buildout_runs(yard: Yard) -> None:
    yard.profile("[one]\nrecipe = no.such.recipe\n")
    error = yard.fails()
    assert error.startswith("[one] recipe: no installed distribution 'no.such.recipe' offers recipes. ")
    assert error.endswith("Or install it where buildout runs.\n")


def test_recipes_in_development(yard: Yard) -> None:
    """``develop`` makes an egg of a folder; it goes when the profile no longer names it."""
    yard.write(
        "own/pyproject.toml",
        '[project]\nname = "own"\nversion = "1"\n[tool.setuptools]\npy-modules = ["own_recipe"]\n'
        '[project.entry-points."zc.buildout"]\ndefault = "own_recipe:Recipe"\n',
    )
    recipe = "class Recipe:\n    def __init__(self, *_):\n        pass\n    def install(self):\n"
    yard.write(
        "own/own_recipe.py",
        f"{recipe}        open('made', 'w').close()\n        return ['made']\n    update = install\n",
    )
    yard.profile("[one]\nrecipe = own\n", buildout="develop = own")
    for _ in range(2):
        yard.works()
    assert (yard.folder / "made").exists()
    assert list((yard.folder / "develop-eggs").iterdir())
    yard.profile("")
    yard.works()
    assert not (yard.folder / "made").exists()
    assert [path.name for path in (yard.folder / "develop-eggs").iterdir() if path.name != "__pycache__"] == []
    assert not (yard.folder / ".installed.cfg").exists()


def test_signatures_are_those_of_recipes(yard: Yard) -> None:
    """What else is installed changes no part; upstream takes a hash of all that is beside an editable recipe."""
    yard.profile(f"{SHOW}inline = 1\n")
    yard.works()
    parts = dict(installed_parts.read(yard.folder / ".installed.cfg"))
    assert parts["show"]["__buildout_signature__"].startswith("allotment_recipes.recipes.template-0-")
    yard.profile(f"{SHOW}inline = 1\n", extended=False)
    assert "Installing show." in yard.works()
    record = configparser.RawConfigParser(strict=False)
    record.read_string(yard.text(".installed.cfg"))
    assert "allotment" in record["show"]["__buildout_signature__"]


def test_the_record_is_written_in_one_step(yard: Yard) -> None:
    path = yard.folder / ".installed.cfg"
    kill = "[kill]\nrecipe = allotment.recipes:command\ncommand = kill -9 $PPID\n"
    first = f"{SHOW}inline = 1\n"
    yard.profile(first, extended=False)
    yard.works()
    before = path.stat()
    yard.works()
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_size > before.st_size, "of a run that changes nothing something is appended, in place"
    yard.profile(first)
    yard.works()
    before = path.stat()
    assert "Updating show." in yard.works()
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "nothing has changed"
    more = first.replace("[show]", "[more]").replace("shown", "more")
    yard.profile(first + more + kill)
    assert yard.run("-o")[0] == -9
    assert [name for name, _ in installed_parts.read(path)] == ["show", "more"]
    yard.profile(first)
    assert "Uninstalling more." in yard.works()
    assert not (yard.folder / "more").exists()


@pytest.mark.parametrize("extended", [False, True])
def test_what_a_killed_run_has_left_goes(yard: Yard, extended: bool) -> None:
    kill = "[two]\nrecipe = allotment.recipes:script\ninstall =\n  import os, signal\n  os.mkdir(location)\n"
    yard.profile(f"{kill}  os.kill(os.getpid(), signal.SIGKILL)\n", extended=extended)
    assert yard.run("-o")[0] == -9
    assert yard.made("two")
    yard.profile(f"{SHOW}inline = 1\n", extended=extended)
    yard.works()
    assert bool(yard.made("two")) == (not extended)


@pytest.mark.parametrize("extended", [False, True])
def test_a_part_is_made_anew_with_what_it_refers_to(yard: Yard, extended: bool) -> None:
    base, user = yard.archive("base", TOOL), yard.archive("user", TOOL)
    text = (
        "[base]\nrecipe = allotment.recipes:cmmi\nshared = false\n{base}environment =\n  TEXT={text}\n"
        "[user]\nrecipe = allotment.recipes:cmmi\nshared = false\n{user}environment =\n  TEXT=${{base:location}}\n"
    )
    for value in ("one", "two"):
        yard.profile(text.format(base=base, user=user, text=value), extended=extended)
        said = yard.works()
        (made,), (used,) = yard.made("base"), yard.made("user")
        assert (made / "out").read_text() == f"{value}\n"
        assert (used / "out").read_text() == f"{made}\n"
        assert "base: building" in said
        assert ("user: building" in said) == (extended or value == "one")
    assert "building" not in yard.works(), "what is there is not built again"
    yard.profile("", extended=extended)
    yard.works()
    assert yard.made("") == [], "and it goes"


@pytest.mark.parametrize("extended", [False, True])
def test_builds_are_confined(yard: Yard, extended: bool) -> None:
    yard.profile(f"[tool]\nrecipe = allotment.recipes:cmmi\n{yard.archive('tool', TOOL)}", extended=extended)
    said = yard.works()
    (part,) = yard.made("tool")
    if refusal():
        assert "could reach the network" in said
    else:
        assert (part / "network").read_text() == "0\n", "there is no way out"
