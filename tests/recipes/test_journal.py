# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.journal import Journal, Unfinished


@pytest.fixture
def journal() -> Journal:
    return Journal(immediate=False)


def test_nothing_changes_before_it_is_applied(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    journal.write(tmp_path / "deep" / "new", b"new", 0o640, "part")
    journal.remove(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert journal.read(tmp_path / "deep" / "new") == b"new"
    journal.apply()
    journal.apply()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert (tmp_path / "deep" / "new").stat().st_mode & 0o777 == 0o640


def test_what_is_removed_and_written_again_stays(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    journal.remove(tmp_path / "one")
    journal.write(tmp_path / "one", b"new", 0o644, "part")
    journal.write(tmp_path / "two", b"new", 0o644, "part")
    journal.remove(tmp_path / "two")
    journal.apply()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "new", "two": "new"}


def test_a_link_is_replaced_not_followed(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "link").symlink_to("victim")
    journal.write(tmp_path / "link", b"new", 0o644, "part")
    journal.apply()
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "link").is_symlink()


def test_links_are_made_replaced_and_followed_by_reading(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "old").symlink_to("elsewhere")
    (tmp_path / "plain").write_text("a file")
    journal.write(tmp_path / "deep" / "file", b"new", 0o644, "part")
    journal.link(tmp_path / "old", "./deep/file", "link")
    journal.link(tmp_path / "plain", "missing", "link")
    assert journal.read(tmp_path / "old") == b"new"
    assert (tmp_path / "old").readlink() == Path("elsewhere")
    journal.apply()
    assert (tmp_path / "old").read_bytes() == b"new"
    assert (tmp_path / "plain").readlink() == Path("missing")
    before = (tmp_path / "old").lstat()
    journal.apply()
    assert (tmp_path / "old").lstat() == before, "not touched"
    with pytest.raises(AllotmentError, match=r"\[other\] writes .*/old, as \[link\] does"):
        journal.write(tmp_path / "old", b"", 0o644, "other")


def test_links_in_a_circle_are_an_error_of_whoever_reads(journal: Journal, tmp_path: Path) -> None:
    journal.link(tmp_path / "a", "b", "part")
    journal.link(tmp_path / "b", "a", "part")
    with pytest.raises(OSError, match="symbolic links"):
        journal.read(tmp_path / "a")


def test_a_link_in_place_of_a_folder_is_refused(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "folder" / "data").mkdir(parents=True)
    journal.link(tmp_path / "folder", "x", "part")
    with pytest.raises(AllotmentError, match=r"^\[part\] can't write .*/folder: Is a directory\. Check"):
        journal.apply()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"], "nothing is left behind"


def test_a_path_that_can_not_be_written_is_named(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal.write(tmp_path / "file" / "below", b"", 0o644, "part")
    with pytest.raises(
        AllotmentError, match=r"^\[part\] can't write .*/file/below: (Not a directory|File exists)\. Check"
    ):
        journal.apply()


def test_changes_are_said_with_the_lines_that_differ(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"same": "same", "conf": "a\nb\nc\n", "big": "x" * 70000, "bytes": "\udcff", "secret": "hunter1", "gone": ""}
    for name, text in old.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
        (tmp_path / name).chmod(0o600 if name == "secret" else 0o644)
    (tmp_path / "link").symlink_to("old")
    journal.scrub = lambda text: text.replace("hunter2", "***")
    for name, text in {"new": "1", "same": "same", "conf": "a\nhunter2\nc\n", "big": "y" * 70000, "bytes": "z"}.items():
        journal.write(tmp_path / name, text.encode(), 0o640 if name == "conf" else 0o644, "part")
    journal.write(tmp_path / "secret", b"hunter3", 0o644, "part")
    journal.link(tmp_path / "link", "new", "links")
    journal.remove(tmp_path / "gone")
    journal.remove(tmp_path / "never")
    changes = [str(change).replace(f"{tmp_path}/", "") for change in journal.changes()]
    assert changes == [
        "new new",
        "changed conf\n  mode 0644, now 0640\n  @@ -1,3 +1,3 @@\n   a\n  -b\n  +***\n   c",
        "changed big\n  70000 bytes, now 70000",
        "changed bytes\n  it is not text",
        "changed secret\n  mode 0600, now 0644\n  it is private",
        "changed link\n  -> old, now -> new",
        "removed gone",
    ]
    with caplog.at_level("INFO"):
        journal.apply()
    said = [(name, text.replace(f"{tmp_path}/", "")) for name, _, text in caplog.record_tuples]
    assert said == list(zip(["part"] * 5 + ["links", "zc.buildout"], changes, strict=True))
    assert journal.changes() == []


def test_a_long_difference_is_cut(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("a\n" * 100)
    (tmp_path / "long").chmod(0o644)
    journal.write(tmp_path / "long", b"b\n" * 100, 0o644, "part")
    (change,) = journal.changes()
    assert (len(change.details), change.details[-1]) == (41, "... 161 lines more")


def test_modes_are_right_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Journal(immediate=True).write(tmp_path / "file", b"", 0o644, "part")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_what_a_killed_run_left_is_removed_by_the_next_complete_one(journal: Journal, tmp_path: Path) -> None:
    note = tmp_path / "note"
    journal.write(tmp_path / "orphan", b"", 0o644, "gone")
    journal.write(tmp_path / "kept", b"", 0o644, "part")
    Unfinished(note).begin(journal, is_complete=True)
    journal.apply()  # and here it is killed
    partial = Journal(immediate=False)
    second = Unfinished(note)
    second.begin(partial, is_complete=False)
    partial.apply()
    second.end()
    assert (tmp_path / "orphan").exists(), "a partial run takes nothing away"
    complete = Journal(immediate=False)
    complete.write(tmp_path / "kept", b"", 0o644, "part")
    third = Unfinished(note)
    third.begin(complete, is_complete=True)
    complete.apply()
    third.end()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_run_that_was_killed_while_it_wrote_converges(partition: Any) -> None:
    partition.run("[buildout]\nparts =\n")
    orphan = partition.folder / "etc" / "service" / "orphan"
    orphan.parent.mkdir(parents=True)
    orphan.write_text("")
    (partition.folder / ".allotment" / "unfinished.json").write_text(json.dumps([str(orphan)]))
    assert partition.run().outcome == "done"
    assert not orphan.exists()
    assert not (partition.folder / ".allotment" / "unfinished.json").exists()


def test_a_note_that_was_cut_short_is_passed_over(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "note").write_text('["/a')
    Unfinished(tmp_path / "note").begin(journal, is_complete=True)
    assert (tmp_path / "note").read_text() == "[]"


def test_a_file_that_is_reached_by_another_path_stays(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/file").write_text("old")
    journal.write(tmp_path / "real/file", b"new", 0o644, "part")
    journal.remove(tmp_path / "link/file")
    journal.remove(tmp_path / "real/../link/file")
    journal.apply()
    assert (tmp_path / "real/file").read_text() == "new"


def test_a_file_gives_way_to_a_folder_and_a_folder_is_never_removed(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("")
    journal.remove(tmp_path / "conf")
    journal.remove(tmp_path / "data")
    journal.write(tmp_path / "conf/d/main", b"new", 0o644, "part")
    (tmp_path / "data").mkdir()
    journal.apply()
    assert (tmp_path / "conf/d/main").read_text() == "new"
    assert (tmp_path / "data").is_dir()


def test_what_can_not_be_removed_is_named(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    (tmp_path / "old").write_text("")
    journal.remove(tmp_path / "old")
    monkeypatch.setattr(Path, "unlink", refuse)  # root may remove everything
    with pytest.raises(AllotmentError, match=r"/old can't be removed: Operation not permitted\. Check the owner"):
        journal.apply()


SECTIONS = """\
    [buildout]
    parts = {parts}
    [once]
    recipe = allotment.recipes:template.jinja2
    inline = x
    output = etc/once
    once = etc/.once
    [password]
    recipe = allotment.recipes:password
    storage-path = srv/password
    [rarely]
    recipe = allotment.recipes:template.jinja2
    inline = {text}
    output = etc/rarely
    update = false
    [fails]
    recipe = allotment.recipes:command
    command = false
    """


def test_a_run_that_fails_late_costs_no_file_that_outlives_it(partition: Any) -> None:
    assert partition.run(SECTIONS.format(parts="password", text=1)).error == ""
    password = partition.text("srv/password")
    assert partition.run(SECTIONS.format(parts="once password rarely fails", text=1)).error
    assert partition.text("etc/once") == "x"
    assert partition.run(SECTIONS.format(parts="once", text=1)).error == ""
    assert partition.text("etc/once") == "x", "rendered once, by the run that failed"
    assert partition.text("srv/password") == password, "there before the run that failed"
    assert "etc/rarely" not in partition.files()


def test_a_part_keeps_what_it_does_not_write_at_each_run(partition: Any) -> None:
    assert partition.run(SECTIONS.format(parts="rarely fails", text=1)).error
    waits = "[waits]\nrecipe = allotment.recipes:request\nname = db\nrelease = db\nreturn = url\n[t]\n"
    waits += "recipe = allotment.recipes:template\ninline = ${waits:connection-url}\noutput = t\n"
    profile = textwrap.dedent(SECTIONS).format(parts="rarely t", text=1) + waits
    assert partition.run(profile).outcome == "waiting"
    assert partition.run(SECTIONS.format(parts="rarely", text=1)).outcome == "done"
    assert partition.text("etc/rarely") == "1"


def test_what_was_read_as_it_was_is_not_written_later(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = w t
        [w]
        recipe = allotment.recipes:wrapper
        command-line = serve
        wrapper-path = w
        hash-files = etc/t
        [t]
        recipe = allotment.recipes:template
        inline = x
        output = etc/t
        """
    (partition.folder / "etc").mkdir(parents=True)
    (partition.folder / "etc/t").write_text("of an earlier release")
    fix = "Let that section come later, by referring to [t]"
    error = f"[t] writes {partition.folder}/etc/t, which another section has read before, as it was. {fix}."
    assert partition.run(profile).error == error
    assert partition.run(profile.replace("etc/t\n        [t]", "${t:output}\n        [t]")).error == ""
