# SPDX-License-Identifier: Apache-2.0
"""Recipe download-unpacked: archives that are made here, hostile ones too."""

import hashlib
import io
import os
import signal
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildRequest
from allotment_recipes.recipes.download_unpacked import Recipe
from allotment_recipes.store import padded_root

MARK = ".allotment-unpacked"
PROFILE = """\
    [buildout]
    parts = tree
    [tree]
    recipe = allotment.recipes:download-unpacked
    {lines}
    """


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., str]:
    """Write an archive; return the lines that pin it."""

    def write(*members: str | tarfile.TarInfo, name: str = "tree-1.0.tar.gz", text: str = "content\n") -> str:
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as file:
            for member in members:
                info = tarfile.TarInfo(member) if isinstance(member, str) else member
                info.size = len(text) if info.isreg() else 0
                file.addfile(info, io.BytesIO(text.encode()) if info.isreg() else None)
        return f"url = {path}\n    sha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}"

    return write


def link(name: str, goal: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, goal
    return info


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def part(release: Any) -> Path:
    (found,) = (release.folder / "store").iterdir()
    return Path(found)


def test_an_archive_is_unpacked_whole_and_the_second_run_leaves_it(release: Any, archive: Callable[..., str]) -> None:
    lines = archive("tree-1.0/a", "tree-1.0/b/c")
    assert release.build(PROFILE.format(lines=lines)).error == ""
    found = part(release)
    assert files(found) == ["tree-1.0/a", "tree-1.0/b/c"]
    written = found.stat().st_ctime_ns
    assert release.build().error == ""
    assert found.stat().st_ctime_ns == written
    assert release.build("[buildout]\nparts =\n").error == ""
    assert not found.exists()


def test_the_top_level_folder_can_be_left_out(release: Any, archive: Callable[..., str]) -> None:
    lines = archive("tree-1.0/a", "tree-1.0/b/c") + "\n    strip-top-level-dir = true\n    version = 1.0"
    assert release.build(PROFILE.format(lines=lines)).error == ""
    assert part(release).name.startswith("tree-1.0-")
    assert files(part(release)) == ["a", "b/c"]


def test_a_zip_is_unpacked_too(release: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("one/two", "text")
    digest = hashlib.sha256((tmp_path / "x.zip").read_bytes()).hexdigest()
    assert release.build(PROFILE.format(lines=f"url = {tmp_path}/x.zip\n    sha256sum = {digest}")).error == ""
    assert files(part(release)) == ["one/two"]


def test_a_destination_is_replaced_only_when_this_part_made_it(release: Any, archive: Callable[..., str]) -> None:
    place = "\n    destination = var/my tree"
    first = archive("old")
    assert release.build(PROFILE.format(lines=first + place)).error == ""
    target = release.folder / "var/my tree"
    assert files(target) == [".allotment-unpacked", "old"]
    time.sleep(0.02)  # more than a tick of the clock that files have their times from
    (target / "old").write_text("mine now")
    assert release.build().error == ""
    assert (target / "old").read_text() == "mine now", "an unchanged part is not unpacked again"
    assert release.build(PROFILE.format(lines=archive("new", name="new.tar.gz") + place)).error == ""
    assert f"tree: changed by hand, and goes now: {target}/old\n" in release.log.read_text()
    assert files(target) == [".allotment-unpacked", "new"]
    assert [path.name for path in (release.folder / "var").iterdir()] == ["my tree"]
    assert release.build("[buildout]\nparts =\n").error == ""
    assert not target.exists()
    target.mkdir()
    (target / "precious").write_text("mine")
    result = release.build(PROFILE.format(lines=first + place))
    assert result.error == (
        f"[tree] destination: {target} holds what this part has not made. Remove it, or choose a folder of its own."
    )
    assert files(target) == ["precious"]


def test_what_a_killed_run_unpacked_is_taken_over(release: Any, archive: Callable[..., str]) -> None:
    lines = archive("file") + "\n    destination = here"
    assert release.build(PROFILE.format(lines=lines)).error == ""
    (release.folder / ".installed.cfg").unlink()
    assert release.build().error == ""
    assert release.build(PROFILE.format(lines=lines + "\n    strip-top-level-dir = true")).error == ""


@pytest.mark.parametrize("rename", range(6))
def test_a_run_that_is_killed_before_any_rename_leaves_the_old_tree_or_the_new(
    make_recipe: Any, archive: Callable[..., str], tmp_path: Path, rename: int
) -> None:
    place = tmp_path / "var/tree"

    def recipe(lines: str) -> Any:
        options = dict(line.strip().split(" = ") for line in lines.splitlines())
        return make_recipe(Recipe, {**options, "destination": str(place)})

    old, new = recipe(archive("old")), recipe(archive("new", name="new.tar.gz"))
    old.install()
    status = in_child(lambda: kill_before(rename, new.install))
    assert status in (0, signal.SIGKILL)
    assert rename or status == signal.SIGKILL
    assert not place.exists() or files(place) in ([MARK, "old"], [MARK, "new"])
    new.install()
    assert files(place) == [MARK, "new"]
    assert list(place.parent.iterdir()) == [place]


def test_what_goes_is_told_only_when_it_was_changed(release: Any, archive: Callable[..., str]) -> None:
    names = [f"dir/{number}" for number in range(7)]
    build = PROFILE.format(lines=archive(*names) + "\n    destination = tree")
    assert release.build(build).error == ""
    assert release.build("[buildout]\nparts =\n").error == ""
    assert "by hand" not in release.log.read_text()
    assert release.build(build).error == ""
    time.sleep(0.02)  # more than a tick of the clock that files have their times from
    for name in names:
        (release.folder / "tree" / name).write_text("mine")
    (release.folder / ".installed.cfg").unlink()
    assert release.build(build + "strip-top-level-dir = true\n").error == ""
    shown = ", ".join(f"{release.folder}/tree/dir/{number}" for number in range(5))
    assert f"changed by hand, and goes now: {shown} and 2 more\n" in release.log.read_text()


def test_a_run_that_is_killed_while_it_unpacks_leaves_nothing(
    release: Any, archive: Callable[..., str], make_recipe: Any
) -> None:
    lines = archive("tree-1.0/a")
    (release.folder / "store/.tree-1-half").mkdir(parents=True)
    (release.folder / ".tree.replacing/new/half").mkdir(parents=True)
    assert release.build(PROFILE.format(lines=lines + "\n    destination = tree")).error == ""
    assert [path.name for path in release.folder.glob(".tree*")] == []
    assert not list((release.folder / "store").iterdir())


def in_child(action: Callable[[], object]) -> int:
    """Do something in a process of its own; return the signal that ended it, or 0."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status)


def kill_before(number: int, action: Callable[[], object]) -> None:
    """Do something until it renames for the given time, and die there."""
    rename, left = Path.rename, iter(range(number))

    def counted(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        action()


def test_a_shared_folder_is_read_only_and_stays(release: Any, archive: Callable[..., str], short_path: Path) -> None:
    lines = archive("tree-1.0/file") + "\n    shared = true"
    release.write("software.cfg", PROFILE.format(lines=lines))
    request = BuildRequest(
        release.root, "software.cfg", short_path / "b", release.sources, 60.0, store=short_path / "s"
    )
    assert release.engine.build(request, short_path / "log").error == ""
    (found,) = padded_root(short_path / "s").glob("tree-*")
    assert files(found) == ["tree-1.0/file"]
    assert not (found / "tree-1.0/file").stat().st_mode & 0o222
    release.write("software.cfg", "[buildout]\nparts =\n")
    assert release.engine.build(request, short_path / "log").error == ""
    assert found.is_dir()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../outside", "'../outside' is not a relative path inside it. Nothing of it was unpacked."),
        ("/absolute", "'/absolute' is not a relative path inside it"),
        (link("link", "../../../etc/passwd"), "'link' is a link to '../../../etc/passwd', outside of it"),
        (link("link", "/etc/passwd"), "'link' is a link to '/etc/passwd', outside of it"),
    ],
)
@pytest.mark.parametrize("place", ["", "\n    destination = tree"])
def test_a_hostile_archive_is_refused_and_nothing_stays(
    release: Any, archive: Callable[..., str], member: Any, message: str, place: str
) -> None:
    result = release.build(PROFILE.format(lines=archive("good", member) + place))
    assert message in result.error
    left = {path.name for path in release.folder.rglob("*")}
    tells_of_builds = {".build", "inputs.json", ".build-events.jsonl", ".log"}
    assert left - tells_of_builds <= {".lock", "build.log", "eggs", "store"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("url = /x", "[tree] sha256sum: missing option. Add"),
        (f"url = /x\n    sha256sum = {'0' * 64}\n    destination = x\n    shared = true", "destination: a shared part"),
        (f"url = /x\n    sha256sum = {'0' * 64}\n    strip-top-level-dir = maybe", "'maybe' is neither true nor false"),
        (
            f"url = /x\n    sha256sum = {'0' * 64}\n    strip = true",
            "[tree] strip: unknown option.",
        ),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(release: Any, lines: str, message: str) -> None:
    assert message in release.build(PROFILE.format(lines=lines)).error


def test_what_is_no_archive_is_an_error(release: Any, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    digest = hashlib.sha256(b"text").hexdigest()
    assert (
        "is not an archive"
        in release.build(PROFILE.format(lines=f"url = {tmp_path}/text\n    sha256sum = {digest}")).error
    )
