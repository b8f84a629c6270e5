# SPDX-License-Identifier: Apache-2.0
"""A build is left out only when nothing that it would go by has changed: each such thing is changed here."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.context import PARTS
from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.explain import inputs
from allotment_recipes.graph.events import read as read_events
from allotment_recipes.warm_start import NAME

SAID = "Nothing has changed since the last build."
PROFILE = """\
    [buildout]
    parts = data tree notes copy

    [data]
    recipe = allotment.recipes:cmmi
    url = {archive.url}
    sha256sum = {archive.sha256}
    configure-command = true
    make-binary = true
    post-install = mkdir @@LOCATION@@/share && echo data > @@LOCATION@@/share/name
    promises = file:share/name

    [tree]
    recipe = allotment.recipes:cmmi
    url = {archive.url}
    sha256sum = {archive.sha256}
    configure-command = true
    make-binary = true
    post-install = cp -r ${{data:location}}/share @@LOCATION@@/
    shared = false

    [notes]
    recipe = allotment.recipes:template.jinja2
    url = ${{:_profile_base_location_}}/notes.in
    output = ${{buildout:directory}}/notes
    import-list = rawfile more.in {outside}/more.in
    context = raw data ${{data:location}}

    [copy]
    recipe = allotment.recipes:copyfiles
    target-directory = ${{buildout:directory}}/copies
    file-list = {outside}/copied
    """


class Warm:
    """A release that is built until a build has nothing to do."""

    def __init__(self, release: Any, folder: Path) -> None:
        self.release = release
        self.outside = folder / "outside"
        self.request = BuildRequest(release.root, "software.cfg", release.folder, release.sources, 60.0)
        self.request = dataclasses.replace(self.request, store=folder / "store")

    def build(self, **changes: Any) -> bool:
        """Build; whether there was nothing to do."""
        log = self.release.log
        before = len(log.read_text()) if log.exists() else 0
        result = self.release.engine.build(dataclasses.replace(self.request, **changes), log)
        assert result.ok, result.error
        self.parts = result.parts
        return SAID in log.read_text()[before:]

    def settle(self) -> None:
        """Build until there is nothing to do: the first build writes, the second sees that nothing was written."""
        for _ in range(5):
            if self.build():
                return
            time.sleep(0.1)  # a file's time may be behind the clock
        raise AssertionError("each build had something to do")

    def location(self, part: str) -> Path:
        return Path(inputs.read(self.release.folder)[part]["location"])


@pytest.fixture
def warm(release: Any, sources: Any, tmp_path: Path) -> Warm:
    made = Warm(release, tmp_path)
    made.outside.mkdir()
    (made.outside / "more.in").write_text("{% set text = 'one' %}")
    (made.outside / "copied").write_text("copied")
    release.write("notes.in", "{% import 'more.in' as more %}{{ more.text }} {{ data }}")
    release.write("base.cfg", "[buildout]\n")
    archive = sources.add(_archive(), "data-1.tar.gz")
    release.write_profile(PROFILE.format(archive=archive, outside=made.outside))
    release.profile.write_text("".join(["[buildout]\nextends = base.cfg\n", release.profile.read_text()]))
    made.settle()
    return made


def _archive() -> bytes:
    from allotment_recipes.testing.fake_sources import archive

    return archive({"README": "data"}, "data-1")


def rewrite(path: Path, text: str) -> None:
    """Write other text and hide it: of the same length, and with the time that the file had."""
    status = path.stat()
    assert len(text) == status.st_size and text != path.read_text()
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    rewrite(path, path.read_text().replace(old, new))


def test_a_build_with_nothing_to_do_says_what_the_one_before_said(warm: Warm) -> None:
    parts, told, before = warm.parts, _told(warm), time.time()
    assert warm.build()
    assert warm.parts == parts and len(parts) == 4
    again = _told(warm)
    assert [(part["name"], part["version"]) for part in again] == [(part["name"], part["version"]) for part in told]
    assert all(part["is_reused"] for part in again) and len(again) == 2
    assert again[0]["started"] >= before
    events = read_events(warm.release.folder)
    assert [(event.part, event.event) for event in events] == [("data", "reused"), ("tree", "reused")]


def test_a_new_engine_has_nothing_to_do_either(warm: Warm) -> None:
    with BuildEngine() as engine:
        warm.release.engine = engine
        assert warm.build()


@pytest.mark.parametrize(
    ("name", "old", "new", "output"),
    ids=["template", "profile", "import"],
    argvalues=[
        ("notes.in", "more.text }} {{", "more.text }}-{{", "one-"),
        ("software.cfg", "raw data ${data:location}", "raw data 1234567890123456", "one 12"),
        ("../outside/more.in", "one", "two", "two "),
    ],
)
def test_a_changed_file_is_seen(warm: Warm, name: str, old: str, new: str, output: str) -> None:
    replace(warm.release.root / name, old, new)
    assert not warm.build()
    assert (warm.release.folder / "notes").read_text().startswith(output)


def test_a_new_and_a_removed_file_beside_the_profiles_are_seen(warm: Warm) -> None:
    path = warm.release.root / "patches" / "new.patch"
    path.parent.mkdir()
    path.write_text("new")
    assert not warm.build()
    warm.settle()
    path.unlink()
    assert not warm.build()


def test_a_copied_file_is_seen(warm: Warm) -> None:
    rewrite(warm.outside / "copied", "depoic")
    assert not warm.build()
    assert (warm.release.folder / "copies/copied").read_text() == "depoic"


def test_a_link_that_leads_elsewhere_is_seen(warm: Warm, tmp_path: Path) -> None:
    path = warm.outside / "copied"
    path.rename(tmp_path / "target")
    path.symlink_to(tmp_path / "target")
    warm.settle()
    rewrite(tmp_path / "target", "target")
    assert not warm.build()
    assert (warm.release.folder / "copies/copied").read_text() == "target"


@pytest.mark.parametrize("part", ["data", "tree"])
def test_a_part_that_was_removed_is_built_again(warm: Warm, part: str) -> None:
    location = warm.location(part)
    location.chmod(0o755)
    location.rename(location.with_name("away"))
    assert not warm.build()
    assert (location / "share/name").read_text() == "data\n"
    shutil.rmtree(location.with_name("away"), ignore_errors=True)


def test_a_part_that_a_killed_build_has_left_is_built_again(warm: Warm) -> None:
    location = warm.location("data")
    location.rename(location.with_name(f".{location.name}.new"))
    location.symlink_to(f".{location.name}.new")
    assert not warm.build()
    assert location.is_dir() and not location.is_symlink()


def test_what_a_part_promises_is_looked_at(warm: Warm) -> None:
    path = warm.location("data") / "share/name"
    path.parent.chmod(0o755)
    path.unlink()
    result = warm.release.engine.build(warm.request, warm.release.log)
    assert "share/name is not there" in result.error


@pytest.mark.parametrize(
    "damage",
    ids=["gone", "closed", "changed", "link"],
    argvalues=[
        lambda path: path.unlink(),
        lambda path: path.chmod(0o600),
        lambda path: rewrite(path, path.read_text().replace("one", "bad")),
        lambda path: (path.unlink(), path.symlink_to("/nowhere")),
    ],
)
def test_a_file_that_a_part_wrote_is_made_again(warm: Warm, damage: Callable[[Path], Any]) -> None:
    path = warm.release.folder / "notes"
    text, mode = path.read_text(), path.stat().st_mode
    damage(path)
    assert not warm.build()
    assert path.read_text() == text and path.stat().st_mode == mode and not path.is_symlink()


@pytest.mark.parametrize("name", [".installed.cfg", inputs.NAME, NAME])
@pytest.mark.parametrize("text", [None, "", "{", "[buildout]\nparts = data\n"], ids=["gone", "empty", "cut", "short"])
def test_a_record_that_is_damaged_or_gone_is_made_again(warm: Warm, name: str, text: str | None) -> None:
    path = warm.release.folder / name
    before = path.read_text()
    path.unlink() if text is None else path.write_text(text)
    assert not warm.build()
    assert warm.parts.keys() == {"data", "tree", "notes", "copy"}
    warm.settle()
    assert path.read_text() == before or name != ".installed.cfg"


def test_a_build_that_was_killed_is_gone_on_with(warm: Warm) -> None:
    """The one before it is no answer any more, though the killed one has recorded nothing."""
    log, part = warm.release.log, "[more]\nrecipe = allotment.recipes:command\ncommand = touch on; sleep 600\n"
    profile = warm.release.root / "killed.cfg"
    profile.write_text(f"[buildout]\nextends = software.cfg\nparts += more\n{part}")
    warm.settle()
    with BuildEngine() as engine, ThreadPoolExecutor(1) as pool:
        request = dataclasses.replace(warm.request, profile="killed.cfg")
        building = pool.submit(engine.build, request, log)
        while not (warm.release.folder / "on").exists():
            assert not building.done(), building.result()
            time.sleep(0.05)
        assert engine._connection is not None
        os.kill(engine._connection._process.pid, signal.SIGKILL)
        assert isinstance(building.exception(60), AllotmentError)
    before = len(log.read_text())
    while "another run is at work" in (result := warm.release.engine.build(warm.request, log)).error:
        time.sleep(0.1)  # the last process of it is about to end
    assert result.ok and SAID not in log.read_text()[before:]


def test_a_link_that_leads_to_itself_is_seen(warm: Warm) -> None:
    path = warm.outside / "copied"
    path.unlink()
    path.symlink_to(path.name)
    result = warm.release.engine.build(warm.request, warm.release.log)
    assert "copied is neither a file nor a link to one" in result.error


def test_another_request_is_another_build(warm: Warm, tmp_path: Path) -> None:
    assert not warm.build(development=True)
    warm.settle()
    assert not warm.build(store=tmp_path / "other-store")
    warm.settle()
    assert warm.build(jobs=1, keep_going=True, timeout=50.0)


@pytest.mark.parametrize("key", ["compiler", "machine", "environment", "user"])
def test_another_machine_is_another_build(warm: Warm, key: str) -> None:
    path = warm.release.folder / NAME
    note = json.loads(path.read_text())
    changed = {"compiler": "gcc 1.0", "machine": [], "environment": {"LANG": "C.other"}, "user": [1, 1]}[key]
    (note if key in note else note["asked"])[key] = changed
    path.write_text(json.dumps(note))
    assert not warm.build()


def test_a_working_copy_follows_its_branch(warm: Warm, tmp_path: Path) -> None:
    repository = tmp_path / "repository"

    def commit(text: str) -> None:
        (repository / "name").write_text(text)
        author = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        for words in (["add", "name"], [*author, "commit", "--quiet", "--message", text]):
            subprocess.run(["git", "-C", str(repository), *words], check=True)

    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repository)], check=True)
    commit("one")
    section = f"[clone]\nrecipe = allotment.recipes:gitclone\nrepository = {repository}\nbranch = main\n"
    profile = warm.release.profile
    profile.write_text(profile.read_text().replace("parts = data", "parts = clone data") + section)
    for text in ("one", "two"):
        commit(f"{text} more")
        for _ in range(3):
            assert not warm.build(development=True)
            time.sleep(0.1)
        assert (warm.release.folder / "parts/clone/name").read_text() == f"{text} more"


RECIPE = """\
from pathlib import Path
class Recipe:
    def __init__(self, buildout, name, options):
        self.path = Path(options["path"])
        self.makes = options["makes"]
    def install(self):
        Path(self.makes).write_text("made by one")
        return []
    update = install
    def watched(self):
        return [self.path]
"""


@pytest.fixture
def others(warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recipe of somebody else, in a folder of its own."""
    folder = tmp_path / "others"
    (folder / "others-1.0.dist-info").mkdir(parents=True)
    (folder / "__pycache__").mkdir()  # or Python would make it, and the folder would have changed
    (folder / "others-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (folder / "others-1.0.dist-info" / "entry_points.txt").write_text("[zc.buildout]\ndefault = others:Recipe\n")
    (folder / "others.py").write_text(RECIPE)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    section = f"[other]\nrecipe = others\npath = {warm.outside}/copied\nmakes = {tmp_path}/made\n"
    profile = warm.release.profile
    profile.write_text(profile.read_text().replace("parts = data", "parts = other data") + section)
    time.sleep(0.1)
    return folder / "others.py"


def test_an_edited_recipe_is_run_again(warm: Warm, others: Path, tmp_path: Path) -> None:
    with BuildEngine() as engine:
        warm.release.engine = engine
        warm.settle()
    others.write_text(RECIPE.replace("by one", "by another"))  # as long, Python would take its cache for good
    time.sleep(0.1)
    with BuildEngine() as engine:
        warm.release.engine = engine
        assert not warm.build()
        assert (tmp_path / "made").read_text() == "made by another"
        warm.settle()


def test_code_that_changed_after_it_was_loaded_is_not_noted(warm: Warm, others: Path) -> None:
    with BuildEngine() as engine:
        warm.release.engine = engine
        warm.settle()
        others.write_text(RECIPE.replace("by one", "by two"))
        for _ in range(3):
            assert not warm.build()  # the process has the other code
            time.sleep(0.1)


def test_what_was_installed_since_is_seen(warm: Warm, others: Path) -> None:
    with BuildEngine() as engine:
        warm.release.engine = engine
        warm.settle()
        (others.parent / "new-1.0.dist-info").mkdir()
        assert not warm.build()


def test_what_changes_while_a_build_runs_counts_for_the_next_one(warm: Warm, others: Path, tmp_path: Path) -> None:
    profile = warm.release.profile
    profile.write_text(profile.read_text().replace(f"makes = {tmp_path}/made", f"makes = {warm.outside}/copied"))
    with BuildEngine() as engine:
        warm.release.engine = engine
        for _ in range(3):
            assert not warm.build()
            time.sleep(0.1)
    assert (warm.release.folder / "copies/copied").read_text() == "made by one"


@pytest.mark.parametrize(
    "section",
    ids=["command", "import"],
    argvalues=[
        "recipe = allotment.recipes:command\ncommand = true\nupdate-command = true\n",
        "recipe = allotment.recipes:template.jinja2\ninline = {{ t.time() }}\noutput = x\ncontext = import t time\n",
    ],
)
def test_a_part_that_always_has_something_to_do_is_always_run(warm: Warm, section: str) -> None:
    profile = warm.release.profile
    profile.write_text(profile.read_text().replace("parts = data", "parts = more data") + f"[more]\n{section}")
    for _ in range(3):
        assert not warm.build()
        time.sleep(0.1)


def _told(warm: Warm) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (warm.release.folder / PARTS).read_text().splitlines()]
