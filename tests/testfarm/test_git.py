# SPDX-License-Identifier: Apache-2.0
"""The mirror reads commits, and nothing of a repository runs."""

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from allotment_testfarm.git import GitError, Mirror


@pytest.fixture
def mirror(tmp_path: Path, repository: Any) -> Mirror:
    return Mirror(tmp_path / "mirrors" / "main.git", str(repository.path))


def test_fetch_returns_the_head_commit(mirror: Mirror, repository: Any) -> None:
    first = repository.commit("first")
    second = repository.commit("say 'hello', <b>world</b>")
    commit = mirror.fetch()
    assert commit.hash == second != first
    assert (commit.author, commit.subject) == ("Ada", "say 'hello', <b>world</b>")
    assert commit.time == 1795406400.0
    assert len(commit.tree) == 40


def test_a_branch_is_fetched_by_name(tmp_path: Path, repository: Any) -> None:
    first = repository.commit("first")
    repository.git("branch", "stable")
    repository.commit("second")
    assert Mirror(tmp_path / "m.git", str(repository.path), "stable").fetch().hash == first


def test_a_rewritten_branch_is_followed_and_kept_commits_stay_readable(mirror: Mirror, repository: Any) -> None:
    old = repository.release("old")
    mirror.fetch()
    mirror.keep(old)
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.git("branch", "--quiet", "-D", "main")
    new = repository.release("new")
    assert mirror.fetch().hash == new
    assert list(mirror.tree(old)) == ["software/old/software.cfg"]


def test_an_archive_holds_the_committed_bytes_whatever_attributes_say(
    mirror: Mirror, repository: Any, tmp_path: Path
) -> None:
    repository.put(".gitattributes", "secret export-ignore\nstamped export-subst ident\nlines text eol=crlf\n")
    repository.put("secret", "here")
    repository.put("stamped", "$Format:%H$ $Id$\n")
    repository.put("lines", "one\ntwo\n")
    (repository.path / "tool").write_text("#!/bin/sh\n")
    (repository.path / "tool").chmod(0o755)
    (repository.path / "link").symlink_to("lines")
    head = repository.commit()
    mirror.fetch()
    mirror.archive(head, tmp_path / "source.tar")
    with tarfile.open(tmp_path / "source.tar") as tar:
        texts = {name: tar.extractfile(name).read() for name in ("secret", "stamped", "lines")}  # type: ignore[union-attr]
        modes = {name: tar.getmember(name).mode for name in ("lines", "tool")}
        assert tar.getmember("link").linkname == "lines"
    assert texts == {"secret": b"here", "stamped": b"$Format:%H$ $Id$\n", "lines": b"one\ntwo\n"}
    assert modes == {"lines": 0o644, "tool": 0o755}
    assert list(tmp_path.glob(".new-*")) == []


def test_a_tree_has_every_file_with_its_mode_and_contents(mirror: Mirror, repository: Any) -> None:
    repository.put("ü/text", "one\ntwo\n")
    repository.put("empty", "")
    (repository.path / "link").symlink_to("empty")
    (repository.path / "tool").write_bytes(b"\0\n\xff")
    (repository.path / "tool").chmod(0o755)
    head = repository.commit()
    mirror.fetch()
    tree = mirror.tree(head)
    modes = {path: entry.split()[0] for path, entry in tree.items()}
    assert modes == {"ü/text": "100644", "empty": "100644", "link": "120000", "tool": "100755"}
    contents = mirror.contents([entry.split()[1] for entry in tree.values()])
    assert {path: contents[entry.split()[1]] for path, entry in tree.items()} == {
        "ü/text": b"one\ntwo\n",
        "empty": b"",
        "link": b"empty",
        "tool": b"\0\n\xff",
    }


def test_no_hook_and_no_monitor_of_the_repository_runs(mirror: Mirror, repository: Any, tmp_path: Path) -> None:
    repository.commit()
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (repository.path / ".git" / "hooks").mkdir(exist_ok=True)
        (repository.path / ".git" / "hooks" / name).symlink_to(trap)
    repository.git("config", "core.fsmonitor", str(trap))
    mirror.fetch()
    mirror.uncommitted()
    assert not (tmp_path / "sprung").exists()


def test_uncommitted_changes_are_counted(mirror: Mirror, repository: Any, tmp_path: Path) -> None:
    repository.release("a")
    mirror.fetch()
    assert mirror.uncommitted() == 0
    repository.put("software/a/software.cfg", "changed")
    repository.put("new", "file")
    assert mirror.uncommitted() == 2
    bare = Mirror(tmp_path / "other.git", str(tmp_path / "mirrors" / "main.git"), "")
    assert bare.uncommitted() == 0


def test_an_empty_repository_is_named(mirror: Mirror, repository: Any) -> None:
    with pytest.raises(GitError) as caught:
        mirror.fetch()
    assert str(caught.value) == f"{repository.path} has no HEAD. Commit something, or name another --branch."


def test_a_missing_branch_is_named(tmp_path: Path, repository: Any) -> None:
    repository.commit()
    with pytest.raises(GitError, match="has no refs/heads/nowhere"):
        Mirror(tmp_path / "m.git", str(repository.path), "nowhere").fetch()


def test_a_repository_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=f"git fetch of {tmp_path}/none: .*does not appear to be a git repository"):
        Mirror(tmp_path / "m.git", f"{tmp_path}/none").fetch()


@pytest.mark.parametrize(("repository_name", "branch"), [("--upload-pack=touch x", ""), ("/r", "-x")])
def test_an_option_in_place_of_a_name_is_refused(tmp_path: Path, repository_name: str, branch: str) -> None:
    with pytest.raises(GitError, match="Neither may begin with a dash"):
        Mirror(tmp_path / "m.git", repository_name, branch)


def test_a_transport_that_runs_commands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="transport 'ext' not allowed"):
        Mirror(tmp_path / "m.git", f"ext::sh -c touch% {tmp_path}/sprung").fetch()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["HEAD", "abc", "--output=x", "0" * 39])
def test_only_full_hashes_name_commits(mirror: Mirror, name: str, tmp_path: Path) -> None:
    with pytest.raises(GitError, match="is not a commit's full hash"):
        mirror.archive(name, tmp_path / "x.tar")


def test_a_repository_of_another_user_is_read(mirror: Mirror, repository: Any) -> None:
    head = repository.commit()
    if os.geteuid() == 0:  # only root can give files away; for others the test says less
        for path in (repository.path, *repository.path.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
    assert mirror.fetch().hash == head
    assert mirror.uncommitted() == 0


def test_a_password_in_a_url_is_never_shown(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "m.git", "http://ada:hunter%2F22@127.0.0.1:9/x.git")
    assert mirror.shown == "http://ada@127.0.0.1:9/x.git"
    with pytest.raises(GitError) as caught:
        mirror.fetch()
    assert "hunter" not in str(caught.value)
    assert str(caught.value).startswith("git fetch of http://ada@127.0.0.1:9/x.git: ")


def test_a_relative_path_is_found(tmp_path: Path, repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    head = repository.commit()
    monkeypatch.chdir(tmp_path)
    mirror = Mirror(tmp_path / "m.git", "repository")
    monkeypatch.chdir("/")
    assert mirror.fetch().hash == head


def test_a_lock_that_a_killed_git_left_does_not_stop_the_farm(mirror: Mirror, repository: Any, tmp_path: Path) -> None:
    repository.commit()
    mirror.fetch()
    second = repository.commit()
    lock = tmp_path / "mirrors" / "main.git" / "refs" / "farm" / "tip.lock"
    lock.touch()
    with pytest.raises(GitError, match="lock"):
        mirror.fetch()
    os.utime(lock, (0, 0))
    assert mirror.fetch().hash == second


def test_a_url_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(GitError) as caught:
        Mirror(tmp_path / "m.git", "http://[x/repository")
    assert str(caught.value) == "the repository's URL can't be read: Invalid IPv6 URL. Correct it."


@pytest.mark.parametrize(
    ("written", "read"), [("-5", 0.0), ("99999999999999", 253402300799.0), ("9" * 23, 253402300799.0)]
)
def test_a_time_that_no_calendar_has_is_put_at_its_end(
    tmp_path: Path, repository: Any, written: str, read: float
) -> None:
    repository.put("README", "hello")
    tree = repository.git("rev-parse", f"{repository.commit()}^{{tree}}")
    who = f"Ada <ada@example.org> {written} +0000"
    (tmp_path / "object").write_text(f"tree {tree}\nauthor {who}\ncommitter {who}\n\nbad\n")
    odd = repository.git("hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "object"))
    repository.git("update-ref", "refs/heads/main", odd)
    found = Mirror(tmp_path / "mirror.git", str(repository.path)).fetch()
    assert (found.hash, found.time) == (odd, read)
