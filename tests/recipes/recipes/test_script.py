# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Recipe ``script``: snippets of Python, alone, in releases and in instances."""

import hashlib
import io
import logging
import os
import re
import signal
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes.engine import BuildRequest
from allotment_recipes.recipes import script
from allotment_recipes.script_tools import ScriptOptions, _inserted, guess_platform, multiarch
from allotment_recipes.testing import given_instance

Make = Callable[..., Any]


def archive(folder: str = "foo-1") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        for name, text in {"bin/foo": b"#!/bin/sh\n", "README": b"old\n"}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(text)
            file.addfile(info, io.BytesIO(text))
    return data.getvalue()


def test_init_sets_options_for_others(make_recipe: Make) -> None:
    code = "\nimport platform\noptions['machine'] = platform.machine()\noptions.barrier()\nassert self.options['a'] == buildout['x']['y']\n"
    recipe = make_recipe(script.Recipe, {"init": code, "a": "1"}, x={"y": "1"})
    assert recipe.raw["machine"] == os.uname().machine


def test_install_makes_location_and_update_runs_later(make_recipe: Make, tmp_path: Path) -> None:
    options = {"install": "import os\nos.mkdir(location)", "update": "open(location + '/u', 'a').write('x')"}
    recipe = make_recipe(script.Recipe, options)
    location = tmp_path / "parts/part"
    assert recipe.raw["location"] == str(location)
    location.parent.mkdir()
    assert recipe.install() == [location]
    assert recipe.update() == [location], "or buildout would no longer know it to be of this part"
    recipe.update()
    assert (location / "u").read_text() == "xx"


def test_without_install_update_is_run(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(script.Recipe, {"update": "open('ran', 'a').write('x')"})
    assert recipe.install() == recipe.update() == []
    assert (tmp_path / "ran").read_text() == "xx", "it runs in the folder of the release or partition"


def test_an_empty_location_is_nothing_to_track(make_recipe: Make, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    recipe = make_recipe(
        script.Recipe,
        {"init": "options['location'] = ''", "install": "self.logger.info('in')", "update": "self.logger.info('up')"},
    )
    assert recipe.install() == recipe.update() == []
    assert [record.getMessage() for record in caplog.records] == ["in", "up"]


def test_nothing_half_stays_and_the_next_run_begins_anew(make_recipe: Make, tmp_path: Path) -> None:
    code = "import os\nos.mkdir(location)\nif not os.path.exists('mended'): 1 / 0"
    recipe = make_recipe(script.Recipe, {"install": code})
    with pytest.raises(AllotmentError) as caught:
        recipe.install()
    assert str(caught.value) == "[part] install, line 3: ZeroDivisionError: division by zero. Correct the Python."
    assert not (tmp_path / "parts/part").exists()
    (tmp_path / "mended").write_text("")
    (tmp_path / "parts/part/half").mkdir(parents=True)  # as a killed run leaves it
    assert recipe.install() == [tmp_path / "parts/part"]
    assert list((tmp_path / "parts/part").iterdir()) == []


def test_what_was_there_before_is_not_removed(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/kept").write_text("")
    with pytest.raises(AllotmentError, match="FileExistsError"):
        make_recipe(script.Recipe, {"location": "data", "install": "import os; os.mkdir('data')"}).install()
    assert (tmp_path / "data/kept").exists()


def test_downloaded_archives_are_unpacked_and_copied(make_recipe: Make, tmp_path: Path) -> None:
    data = archive()
    digest = BlobStore(tmp_path / ".allotment/sources").write([data])
    options = {
        "url": "http://127.0.0.1:9/foo-1.tar.gz",
        "sha256sum": digest,
        "md5sum": hashlib.md5(data).hexdigest(),
        "install": "path = self.download()\nassert path.endswith('/foo-1.tar.gz')\nextract_dir = self.extract(path)\nself.copyTree(guessworkdir(extract_dir), location)",
        "slapos_promise": "file:bin/foo\ndirectory:bin",
    }
    recipe = make_recipe(script.Recipe, options)
    assert recipe.source.sha256 == digest, "it is fetched with all others"
    assert recipe.install() == [tmp_path / "parts/part"]
    assert (tmp_path / "parts/part/README").read_text() == "old\n"
    recipe = make_recipe(script.Recipe, {**options, "slapos_promise": "file:bin/bar"})
    with pytest.raises(AllotmentError, match=r"bin/bar is not there"):
        recipe.install()
    assert not (tmp_path / "parts/part").exists()


def wheel() -> bytes:
    """Return a wheel with one module, written by hand."""
    files = {
        "builder_kit.py": "def name():\n    return 'built'\n",
        "builder_kit-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: builder-kit\nVersion: 1.0\n",
        "builder_kit-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "builder_kit-1.0.dist-info/RECORD": "",
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return data.getvalue()


def test_distributions_are_there_for_the_snippets(release: Any) -> None:
    digest = BlobStore(release.sources).write([wheel()])
    profile = f"""\
        [buildout]
        parts = s
        [versions]
        builder-kit = 1.0
        [hashes]
        builder-kit = sha256:{digest}
        [s]
        recipe = allotment.recipes:script
        setup-eggs = builder-kit
        init =
          import builder_kit
          options['word'] = builder_kit.name()
        install =
          import builder_kit, sys
          open(location, 'w').write(options['word'] + ' ' + builder_kit.name())
        """
    assert release.build(profile).error == ""
    (part,) = (release.folder / "store").glob("s-*")
    assert part.read_text() == "built built"
    assert release.build(profile.replace("= 1.0", "= 1.1")).error.startswith("[s] init: ")


def test_a_download_needs_a_pin_and_no_instance(make_recipe: Make) -> None:
    code = {"update": "self.download('http://127.0.0.1:9/x')"}
    with pytest.raises(AllotmentError, match=r"\[part\] update, line 1: sha256sum: missing option"):
        make_recipe(script.Recipe, code).install()
    with pytest.raises(AllotmentError, match=r"\[part\] update, line 1: download\(\) has no URL\. Add 'url = \.\.\.'"):
        make_recipe(script.Recipe, {"update": "self.download()"}).install()
    with pytest.raises(AllotmentError, match=r"\[part\] update, line 1: an instance fetches nothing\."):
        make_recipe(script.Recipe, code, given_instance()).install()


def test_programs_are_run_one_after_the_other(make_recipe: Make, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    code = """
        self.pipeCommand([["printf", "b\\na\\n"], ["sort"], ["tee", "out"]])
        self.pipeCommand([["yes"], ["head", "-n1"]], stderr=-3)
        self.run("sh", "-c", "echo from $A; pwd", cwd="sub")
        self.failIfPathExists("nothing")
    """
    (tmp_path / "sub").mkdir()
    make_recipe(script.Recipe, {"update": code, "environment": "A = %(HOME)s %%"}).install()
    assert (tmp_path / "out").read_text() == "a\nb\n"
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["a", "b", "y", f"from {os.environ['HOME']} %", str(tmp_path / "sub")]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("self.pipeCommand([['true'], ['sh', '-c', 'exit 3']])", "[part] update, line 1: sh -c exit 3 failed with exit code 3."),
        ("self.pipeCommand([['sh', '-c', 'exit 4'], ['cat']])", "[part] update, line 1: sh -c exit 4 failed with exit code 4."),
        ("self.pipeCommand([['cat'], ['/no/such']])", "[part] update, line 1: /no/such can't be run: No such file or directory."),
        ("\n\nself.run('sh', '-c', 'echo last; false')", "[part] update, line 1: sh -c echo last; false failed with exit code 1\n  | last."),
        ("self.run('/no/such')", "[part] update, line 1: /no/such can't be run: No such file or directory."),
        ("self.failIfPathExists('/')", "[part] update, line 1: / exists already. Remove it."),
        ("def f():\n  raise KeyError('x')\nf()", "[part] update, line 2: KeyError: 'x'. Correct the Python."),
        ("import sys\nsys.exit(0)", "[part] update, line 2: SystemExit: 0."),
        ("self.environ", "[part] update, line 1: environment: B asks for %(NOT_SET_)s, which is not set. Write the value."),
        ("options['x'] = 1", "[part] update, line 1: TypeError: option x: 1 is not text."),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_named_with_its_line(make_recipe: Make, code: str, message: str) -> None:
    environment = {"environment": "B=%(NOT_SET_)s"} if code == "self.environ" else {}
    with pytest.raises(AllotmentError) as caught:
        make_recipe(script.Recipe, {"update": code, **environment}).install()
    assert str(caught.value).startswith(message)


def test_patches_are_applied(make_recipe: Make, tmp_path: Path) -> None:
    patch = b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-old\n+new\n"
    (tmp_path / "fix.patch").write_bytes(patch)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/README").write_text("old\n")
    line = f"fix.patch#{hashlib.sha256(patch).hexdigest()}"
    code = "self.applyPatchList(options['patches'], '-p1', cwd='tree')"
    make_recipe(script.Recipe, {"update": code, "patches": f"\n{line}\n"}).install()
    assert (tmp_path / "tree/README").read_text() == "new\n"
    with pytest.raises(AllotmentError, match=r"\[part\] update, line 1: patches: .* has no sha256"):
        make_recipe(script.Recipe, {"update": code, "patches": "fix.patch"}).install()


def test_a_snippet_leaves_neither_folder_nor_environment_changed(make_recipe: Make) -> None:
    before = Path.cwd()
    make_recipe(script.Recipe, {"update": "import os\nos.chdir('/')\nos.environ['LEAKED_'] = '1'"}).install()
    assert Path.cwd() == before
    assert "LEAKED_" not in os.environ


def test_temporary_folders_go(make_recipe: Make, tmp_path: Path) -> None:
    digest = BlobStore(tmp_path / ".allotment/sources").write([archive()])
    code = f"open('kept', 'w').write(self.extract(self.download('http://h/x.tgz', sha256sum='{digest}')))"
    make_recipe(script.Recipe, {"update": code}).install()
    assert not Path((tmp_path / "kept").read_text()).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"install": "a = 1\nif"}, "[part] install: line 2: invalid syntax. Correct the Python."),
        ({"init": "\n\n  x = 1\n  raise ValueError(options['recipe'])", "recipe": "r"}, "[part] init, line 2: ValueError: r. Correct the Python."),
        ({"shared": "true", "init": "pass"}, "[part] install: missing option, and a shared part needs it."),
        ({"shared": "true", "install": "pass", "update": "pass"}, "[part] update: a shared part can't have it."),
        ({"shared": "true", "install": "pass", "location": "x"}, "[part] location: a shared part can't have it."),
        ({"shared": "true", "install": "pass", "init": "options['location'] = '/x'"}, "[part] location: is another one, and a shared part can't choose."),
        ({"environment": "nothing"}, "[part] environment: there is no section 'nothing'."),
        ({"setup-eggs": "foo"}, "[part] setup-eggs: foo"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(script.Recipe, options)


def test_install_must_make_something(make_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(script.Recipe, {"install": "pass"}).install()
    assert str(caught.value) == (
        f"[part] install: has not made {tmp_path}/parts/part. Make it, or write options['location'] = '' in init."
    )


PROFILE = """\
    [buildout]
    parts = s
    [s]
    recipe = allotment.recipes:script
    shared = SHARED
    init =
      options['told'] = 'by init'
    install =
      import os
      os.mkdir(location)
      open('ran', 'a').write('x')
      with open(os.path.join(location, 'f'), 'w') as file:
        file.write('${:value}')
        MORE
    value = 1
    """


@pytest.mark.parametrize("shared", ["false", "true"])
def test_a_part_of_a_release_is_made_once(release: Any, shared: str) -> None:
    profile = PROFILE.replace("SHARED", shared)
    assert (
        release.build(profile.replace("MORE", "raise OSError('x')")).error
        == "[s] install, line 6: OSError: x. Correct the Python."
    )
    assert not list((release.folder / "store").glob("s-*"))
    for _ in range(2):
        assert release.build(profile.replace("MORE", "")).error == ""
    (part,) = (release.folder / "store").glob("s-*")
    assert (part / "f").read_text() == "1"
    assert (release.folder / "ran").read_text() == "xx"


def test_a_killed_build_leaves_no_part(release: Any) -> None:
    waits = "file.flush(); open('waiting', 'w').close(); os.path.exists('go') or __import__('time').sleep(60)"
    profile = PROFILE.replace("SHARED", "false").replace("MORE", waits)
    profile = profile.replace("options['told'] = 'by init'", "open('pid', 'w').write(str(__import__('os').getpid()))")
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(release.build, profile)
        while not (release.folder / "waiting").exists():
            assert not building.done(), building.result()
            time.sleep(0.01)
        os.kill(int((release.folder / "pid").read_text()), signal.SIGKILL)
        assert "signal 9" in building.result().error
    assert list((release.folder / "store").glob("s-*"))
    (release.folder / "go").write_text("")
    assert release.build(profile).error == ""
    (part,) = (release.folder / "store").glob("s-*")
    assert (part / "f").read_text() == "1"
    assert (release.folder / "ran").read_text() == "xx"


def test_a_killed_snippet_leaves_no_part(release: Any) -> None:
    killed = PROFILE.replace("SHARED", "false").replace("MORE", "os.kill(os.getpid(), 9)")
    assert release.build(killed).error.startswith("[s] its process was killed by signal 9. ")
    assert not list((release.folder / "store").glob("s-*"))


def test_an_instance_gets_folders_and_secrets(partition: Any) -> None:
    partition.parameters = {"password": Secret("pl4nted")}
    profile = """\
        [buildout]
        parts = s
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [t]
        recipe = allotment.recipes:template
        inline = from template
        output = etc/t
        [s]
        recipe = allotment.recipes:script
        password = ${slap:configuration.password}
        template = ${t:output}
        init =
          options['longer'] = self.hide(self.reveal(options['password']) + '2')
        install =
          import os
          os.makedirs(location)
          with open(options['template']) as file: text = file.read()
          self.write('etc/secret', text + ' ' + options['longer'])
          self.logger.info('it is %s', options['password'])
          FAIL
        [u]
        recipe = allotment.recipes:template
        inline = ${s:longer}
        output = etc/u
        """
    assert partition.run(profile.replace("FAIL", "").replace("parts = s", "parts = s u")).error == ""
    assert partition.text("etc/secret") == "from template pl4nted2"
    assert stat.S_IMODE((partition.folder / "etc/secret").stat().st_mode) == 0o600
    assert partition.text("etc/u") == "pl4nted2"
    assert "pl4nted" not in partition.text(".installed.cfg") + partition.log.read_text()
    result = partition.run(profile.replace("FAIL", "raise ValueError(self.reveal(options['password']))"))
    assert result.error == "[s] install, line 6: ValueError: <secret>. Correct the Python."
    assert "pl4nted" not in partition.log.read_text()
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "etc/secret").exists()
    assert not (partition.folder / ".allotment/parts/s").exists()


def test_waiting_in_init_is_no_error(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = s
        [child]
        recipe = allotment.recipes:request
        name = b
        release = shop
        return = url
        [s]
        recipe = allotment.recipes:script
        init = options['x'] = buildout['child']['connection-url']
        update = pass
        """
    result = partition.run(profile)
    assert result.error == ""
    assert result.waiting


def test_options_are_a_mapping_of_texts() -> None:
    options = ScriptOptions({"a": "1"})
    options["b"] = "2"
    del options["a"]
    assert (dict(options), len(options), options.get("c")) == ({"b": "2"}, 1, None)
    assert options.barrier() is None  # type: ignore[func-returns-value]


@given(st.text(), st.dictionaries(st.from_regex(r"[A-Z]+", fullmatch=True), st.text()))
def test_variables_are_inserted(text: str, base: dict[str, str]) -> None:
    assert _inserted("A", text.replace("%", "%%"), base) == text
    for name, value in base.items():
        assert _inserted("A", f"<%({name})s>", base) == f"<{value}>"


def test_a_folder_that_can_not_be_made_is_named(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("")
    with pytest.raises(AllotmentError, match=r"\[part\] .*/parts.* can't be made: Not a directory"):
        make_recipe(script.Recipe, {"install": "pass"}).install()


def test_the_machine_has_a_name() -> None:
    assert guess_platform() in ("x86", "x86-64", os.uname().machine)
    assert re.fullmatch(r"[\w]+-linux-\w+", multiarch())


def test_a_shared_part_is_made_for_all_releases(release: Any, tmp_path: Path) -> None:
    release.write("software.cfg", PROFILE.replace("SHARED", "true").replace("MORE", ""))
    for folder in ("one", "two"):
        request = BuildRequest(
            release.root, "software.cfg", tmp_path / folder, release.sources, 60.0, store=tmp_path / "shared"
        )
        assert release.engine.build(request, release.log).error == ""
    (part,) = {path.parent for path in (tmp_path / "shared").rglob("f")}
    assert part.name.startswith("s-1-")
    assert not list((tmp_path / "one").glob("store/s-*"))
    assert stat.S_IMODE((part / "f").stat().st_mode) == 0o444
    assert (tmp_path / "one/ran").exists()
    assert not (tmp_path / "two/ran").exists()
    release.write("software.cfg", "[buildout]\nparts =\n")
    assert release.engine.build(request, release.log).error == ""
    assert (part / "f").exists(), "it is not one release's to remove"


@pytest.mark.parametrize("options", [{"location": "."}, {"init": "options['location'] = '..'"}])
def test_what_goes_with_the_part_is_never_the_whole_folder(make_recipe: Make, options: dict[str, str]) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] location: /.* holds all that is here.*\. Name what is made\."):
        make_recipe(script.Recipe, {"install": "pass", **options})


def test_without_code_to_run_nothing_is_written_early(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = t s c
        [t]
        recipe = allotment.recipes:template
        inline = x
        output = etc/t
        [s]
        recipe = allotment.recipes:script
        init = options['a'] = 'b'
        [c]
        recipe = allotment.recipes:copyfiles
        file-list = missing
        target-directory = etc
        """
    assert "missing can't be read" in partition.run(profile).error
    assert "etc/t" not in partition.files()


def test_programs_in_a_pipe_print_no_secret_into_the_log(partition: Any) -> None:
    partition.parameters = {"password": Secret("pl4nted")}
    profile = """\
        [buildout]
        parts = s
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [s]
        recipe = allotment.recipes:script
        password = ${slap:configuration.password}
        update = self.pipeCommand([["sh", "-c", "echo it is $0; echo it is $0 >&2", self.reveal(options["password"])], ["cat"]])
        """
    assert partition.run(profile).error == ""
    assert partition.log.read_text().count("it is <secret>") == 2
    assert "pl4nted" not in partition.log.read_text()
