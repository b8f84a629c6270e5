# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""``allot new``: what it writes works at once, and nothing that is there is lost."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from allotment.cli import main
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstancePublished
from allotment_recipes.engine import BuildEngine, InstanceRun
from allotment_recipes.manifest import build_release
from allotment_recipes.new.component import guessed_version
from allotment_recipes.testing import FakeSources, archive, given_instance

ROOT = Path(__file__).parents[3]
Allot = Callable[..., str]


@pytest.fixture
def allot(capsys: pytest.CaptureFixture[str]) -> Allot:
    """Run a command in this process; return what it says, after checking how it ends."""

    def run(*arguments: str, ends: int = 0) -> str:
        assert main(arguments) == ends
        said = capsys.readouterr()
        return said.err if ends else said.out

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clone(here: Path) -> Path:
    """What tells this repository from others, and what new recipes and promises are entered in."""
    for name in (
        "recipes/pyproject.toml",
        "recipes/src/allotment_recipes/plugin.py",
        "promises/src/allotment_promises/plugin.py",
        "software/stack/python.cfg",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, here / name)
    return here


def fetched(url: str) -> bytes:
    """Return a page of a server that is just starting."""
    deadline = time.monotonic() + 60.0
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def module(path: Path) -> ModuleType:
    made = ModuleType("made")
    exec(compile(path.read_text(), path, "exec"), vars(made))
    return made


def test_a_distribution_gets_recipes_and_promises(allot: Allot, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = allot("new", "recipe", "greeting")
    assert "wrote allotment-greeting/src/allotment_greeting/greeting.py\n" in said
    assert said.endswith("next: pip install -e allotment-greeting; pytest allotment-greeting\n")
    monkeypatch.chdir(here / "allotment-greeting")
    allot("new", "recipe", "also.this")
    monkeypatch.chdir("src")
    allot("new", "promise", "check_age")
    project = tomllib.loads((here / "allotment-greeting/pyproject.toml").read_text())
    assert project["project"]["entry-points"] == {
        "zc.buildout": {
            "also.this": "allotment_greeting.also_this:Recipe",
            "greeting": "allotment_greeting.greeting:Recipe",
        },
        "allotment": {"allotment_greeting": "allotment_greeting.plugin"},
    }
    plugin = module(here / "allotment-greeting/src/allotment_greeting/plugin.py")
    assert [(item.name, item.target, item.distribution) for item in plugin.allotment_recipe_types()] == [
        ("also.this", "allotment_greeting.also_this:Recipe", "allotment-greeting"),
        ("greeting", "allotment_greeting.greeting:Recipe", "allotment-greeting"),
    ]
    assert [item.target for item in plugin.allotment_promise_types()] == ["allotment_greeting.check_age:CheckAge"]


def test_a_promise_works_at_once(allot: Allot, here: Path) -> None:
    allot("new", "promise", "check_age", "--distribution", "my-promises")
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-promises"],
        env={**os.environ, "PYTHONPATH": str(here / "my-promises/src")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "2 passed" in tests.stdout, tests.stdout + tests.stderr


def test_a_component_is_pinned(allot: Allot, here: Path) -> None:
    (here / "hello-1.2.tar.gz").write_bytes(data := archive({"configure": "#!/bin/sh\n"}))
    words = ["new", "component", "hello", "hello-1.2.tar.gz", "--description", "Says it", "--licence", "MIT"]
    assert "wrote components/hello/buildout.cfg\n" in allot(*words)
    text = (here / "components/hello/buildout.cfg").read_text()
    source = FakeSources(here / "var/sources").add(data)
    assert f"sha256sum = {source.sha256}\n" in text
    assert f"version = 1.2\nlicence = MIT\npurl = pkg:generic/hello@1.2\nurl = file://{here}/hello-1.2.tar.gz\n" in text
    assert "components/hello/buildout.cfg exists already. Choose" in allot(*words, ends=1)


def test_a_component_whose_source_is_not_there_is_not_begun(allot: Allot, here: Path) -> None:
    words = ["--description", "x", "--licence", "MIT"]
    said = allot("new", "component", "hello", "nowhere-1.0.tar.gz", *words, ends=1)
    assert re.fullmatch(r"error: file://.*/nowhere-1.0.tar.gz can't be fetched: .*No such file.*\n", said)
    assert "Say it with --version." in allot("new", "component", "hello", "latest.tar.gz", *words, ends=1)
    assert "Give an http or https URL" in allot("new", "component", "hello", "ftp://x/a-1.0.zip", *words, ends=1)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "version"),
    [
        ("https://example.org/hello-2.12.tar.gz", "2.12"),
        ("https://example.org/archive/v1.3.1.zip", "1.3.1"),
        ("https://example.org/redis_7.0.15.orig.tar.xz", "7.0.15"),
        ("https://example.org/openssl-1.1.1w.tgz?x=1", "1.1.1w"),
    ],
)
def test_the_version_is_in_the_name_of_a_source(url: str, version: str) -> None:
    assert guessed_version("x", url) == version


def test_a_release_is_built_and_run(
    allot: Allot, here: Path, engine: BuildEngine, make_port: Callable[[str], int]
) -> None:
    said = allot("new", "release", "my-wiki")
    assert said.endswith("next: allot release test software/my-wiki\n")
    allot("lint", "software/my-wiki")
    release = here / "software/my-wiki"
    log = here / "log"
    built = build_release(release / "software.cfg", release, here / "built", here / "sources", engine, log)
    assert built.manifest.name == "my-wiki"
    state = here / "part0/.allotment"
    state.mkdir(parents=True)
    port = make_port("127.0.0.9")
    (state / "instance.json").write_bytes(dumps(given_instance(parameters={"text": "Bonjour", "port": port})))
    result = engine.instance(InstanceRun(here / "built", here / "part0"), log)
    assert (result.outcome, result.error) == ("done", "")
    url = loads(InstancePublished, (state / "published.json").read_bytes()).values["url"]
    assert url == f"http://127.0.0.9:{port}/"
    service = subprocess.Popen([here / "part0/etc/service/page"], stderr=subprocess.DEVNULL)
    try:
        assert fetched(str(url)) == b"Bonjour"
    finally:
        service.kill()
        service.wait()
    promises = sorted(path.name for path in (here / "part0/etc/promise").iterdir())
    assert promises == ["answering.json", "listening.json"]


def test_in_a_clone_of_this_repository_things_go_to_their_place(allot: Allot, clone: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(clone / "recipes")
    assert f"wrote {clone}/recipes/src" not in allot("new", "recipe", "new-thing")
    allot("new", "promise", "check_age")
    allot("new", "release", "wiki")
    (clone / "a-1.0.tar.gz").write_bytes(archive({"x": ""}))
    words = ["new", "component", "a", str(clone / "a-1.0.tar.gz"), "--description", "A", "--licence", "MIT"]
    assert "Add --debian-source 'PACKAGE VERSION SUITE'." in allot(*words, ends=1)
    allot(*words, "--debian-source", "a 1.0-1 trixie")
    new = {
        "recipes/src/allotment_recipes/recipes/new_thing.py",
        "tests/recipes/recipes/test_new_thing.py",
        "docs/reference/examples/new-thing.cfg",
        "promises/src/allotment_promises/types/check_age.py",
        "tests/promises/types/test_check_age.py",
        "components/a/buildout.cfg",
        "software/wiki/software.cfg",
    }
    for name in new:
        assert "SPDX-License-Identifier" in (clone / name).read_text().split("\n")[0], name
    before = module(ROOT / "recipes/src/allotment_recipes/plugin.py").RECIPES
    plugin = clone / "recipes/src/allotment_recipes/plugin.py"
    assert before | {"new-thing": "new_thing"} == module(plugin).RECIPES
    assert len(plugin.read_text().splitlines()) == len((ROOT / plugin.relative_to(clone)).read_text().splitlines()) + 1
    project = tomllib.loads((clone / "recipes/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["zc.buildout"]["new-thing"] == "allotment_recipes.recipes.new_thing:Recipe"
    promises = module(clone / "promises/src/allotment_promises/plugin.py").allotment_promise_types()
    assert "allotment_promises.types.check_age:CheckAge" in {item.target for item in promises}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("recipe", "My Recipe"), "error: 'My Recipe' is not a name for a recipe. Begin with a small letter, go on like 'my-recipe'.\n"),
        (("recipe", "../x"), "error: '../x' is not a name for a recipe. Begin with a small letter, go on like 'x'.\n"),
        (("recipe", "9"), "error: '9' is not a name for a recipe. Begin with a small letter, go on like 'greeting'.\n"),
        (("recipe", "class"), "error: 'class' is a word of Python's. Choose another, like 'class-file'.\n"),
        (("promise", "age"), "error: 'age' is not a name for a promise type. Write it like 'check_age'.\n"),
        (("promise", "check-age"), "error: 'check-age' is not a name for a promise type. Write it like 'check_age'.\n"),
        (("release", "a b"), "error: 'a b' is not a name for a release. Begin with a small letter, go on like 'a-b'.\n"),
        (("recipe", "x", "--distribution", "A_b"), "error: 'A_b' is not a name for a distribution. Write small letters and digits, parted by '-', like my-recipes.\n"),
    ],
)  # fmt: skip
def test_a_bad_name_is_refused_with_a_good_one(allot: Allot, here: Path, words: tuple[str, ...], message: str) -> None:
    assert allot("new", *words, ends=1) == message
    assert list(here.iterdir()) == []


def test_nothing_is_written_over(allot: Allot, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allot("new", "recipe", "greeting")
    assert "allotment-greeting exists already. Go into it, or" in allot("new", "recipe", "greeting", ends=1)
    monkeypatch.chdir(here / "allotment-greeting")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert "greeting.py exists already. Choose another name" in allot("new", "recipe", "greeting", ends=1)
    assert "belongs to allotment-greeting" in allot("new", "recipe", "b", "--distribution", "other", ends=1)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_distribution_without_plugins_is_named(allot: Allot, here: Path) -> None:
    (here / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert "has no entry point 'allotment' that names a module in" in allot("new", "recipe", "greeting", ends=1)
    (here / "pyproject.toml").write_text("[project")
    assert "pyproject.toml can't be read: " in allot("new", "recipe", "greeting", ends=1)


def test_a_plugin_that_somebody_wrote_otherwise_is_left_alone(allot: Allot, here: Path, monkeypatch: Any) -> None:
    allot("new", "recipe", "greeting")
    monkeypatch.chdir(here / "allotment-greeting")
    plugin = Path("src/allotment_greeting/plugin.py")
    plugin.write_text(plugin.read_text().replace("RECIPES = {", "RECIPES = dict(**{"))
    assert 'has no line \'RECIPES = {\'. Add it, with "other": "other",.' in allot("new", "recipe", "other", ends=1)
    assert not Path("src/allotment_greeting/other.py").exists()


def test_a_recipe_takes_no_name_of_a_file_that_each_distribution_has(allot: Allot, here: Path) -> None:
    assert "plugin.py is a file of every distribution. Choose another name." in allot("new", "recipe", "plugin", ends=1)
    assert list(here.iterdir()) == []


def test_what_gets_a_line_is_as_it_was_when_another_can_not_be_written(here: Path) -> None:
    from allotment_recipes.new.writing import write_new

    (here / "plugin").write_text("before")
    with pytest.raises(AllotmentError, match="gone can't be written: No such file"):
        write_new({here / "new/a": "x"}, {here / "plugin": "after", here / "gone": "after"})
    assert [path.name for path in here.iterdir()] == ["plugin"]
    assert (here / "plugin").read_text() == "before"


def test_what_a_component_says_stays_on_its_line(allot: Allot, here: Path) -> None:
    (here / "a-1.0.tar.gz").write_bytes(b"")
    allot("new", "component", "a", "a-1.0.tar.gz", "--description", "costs ${x}\n[other]", "--licence", "MIT")
    assert "\ndescription = costs $${x} [other]\n" in (here / "components/a/buildout.cfg").read_text()


def test_a_disk_that_is_full_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from allotment_recipes.new.writing import write_new

    (here / "file").write_text("")
    with pytest.raises(AllotmentError, match=r"file/b can't be written: |file can't be written: "):
        write_new({here / "new/a": "x", here / "file/b": "x"}, {})
    assert [path.name for path in here.iterdir()] == ["file"]
