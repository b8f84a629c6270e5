# SPDX-License-Identifier: Apache-2.0
"""Recipe gitclone with the real git and repositories that are made here."""

import functools
import http.server
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.options import OptionProblem
from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.git_repository import Git, GitError, check_address, check_branch
from allotment_recipes.recipes.gitclone import Recipe
from allotment_recipes.shared_store import remove
from allotment_recipes.source_cache.adding import add_git
from allotment_recipes.store import padded_root

WHO = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b"}
DATES = {"GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z"}


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **WHO, **DATES, "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Repository:
    """A repository, and a release whose part ``tree`` is cloned from it."""

    folder: Path
    release: Any

    def commit(self, name: str, text: str) -> str:
        """Commit a file; return the commit's id."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", name)
        return git(self.folder, "rev-parse", "HEAD")

    def build(self, lines: str) -> BuildResult:
        text = "[buildout]\nparts = tree\n[tree]\nrecipe = allotment.recipes:gitclone\n"
        own = "" if "repository =" in lines else f"repository = {self.folder}\n"
        return self.release.build(f"{text}{own}{lines}\n")

    @property
    def tree(self) -> Path:
        (found,) = (self.release.folder / "store").glob("tree-*")
        return Path(found)

    @property
    def copy(self) -> Path:
        return Path(self.release.folder / "parts/tree")


@pytest.fixture
def repository(tmp_path: Path, release: Any) -> Repository:
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    found = Repository(folder, release)
    found.commit("file", "one\n")
    return found


@pytest.fixture
def serve_folder() -> Iterator[Callable[[Path], str]]:
    """Serve a folder on loopback and return its address."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    def serve(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_pinned_commit_is_its_tree_and_nothing_else(repository: Repository) -> None:
    first = repository.commit("run", "#!/bin/sh\n")
    (repository.folder / "run").chmod(0o755)
    (repository.folder / "link").symlink_to("run")
    pinned = repository.commit("sub/deep", "two\n")
    repository.commit("file", "later\n")
    result = repository.build(f"revision = {pinned}\nversion = 2.0")
    assert result.error == ""
    assert repository.tree.name.startswith("tree-2.0-")
    assert files(repository.tree) == ["file", "link", "run", "sub/deep"]
    assert (repository.tree / "file").read_text() == "one\n"
    assert os.access(repository.tree / "run", os.X_OK)
    assert {path.stat().st_mtime for path in repository.tree.rglob("*")} == {978307200.0}
    assert repository.build(f"revision = {first}").error == ""
    assert files(repository.tree) == ["file", "run"]


def test_the_second_run_and_the_source_cache_need_no_repository(repository: Repository) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    first = repository.build(f"revision = {pinned}")
    repository.folder.rename(repository.folder.with_name("gone"))
    assert repository.build(f"revision = {pinned}").parts == first.parts
    assert repository.build(f"revision = {pinned}\nversion = 2").error == "", "from the copy beside the sources"
    assert repository.build("").error != ""


def test_without_a_cache_nothing_is_kept(repository: Repository) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    assert repository.build(f"revision = {pinned}\nforbid-download-cache = true").error == ""
    assert not (repository.release.sources / ".git").exists()


def test_what_a_killed_git_left_in_the_cache_is_no_hindrance(repository: Repository) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    assert repository.build(f"revision = {pinned}").error == ""
    (cache,) = (path for path in (repository.release.sources / ".git").iterdir() if path.is_dir())
    for name in ("shallow.lock", "packed-refs.lock", "HEAD.lock"):
        (cache / name).write_text("")
    assert repository.build(f"revision = {repository.commit('file', 'two')}").error == ""
    assert (repository.tree / "file").read_text() == "two"


@pytest.mark.parametrize("branch", ["", "main"])
def test_a_server_that_gives_branches_only_is_asked_for_them(
    repository: Repository, branch: str, make_recipe: Any, tmp_path: Path
) -> None:
    """The first protocol gives no commit that is not the tip of something."""
    pinned = repository.commit("file", "two\n")
    repository.commit("file", "three\n")
    recipe = make_recipe(Recipe, {"repository": str(repository.folder), "revision": pinned, "branch": branch})
    recipe.git = Git(settings={"protocol.version": "0"})
    recipe.install()
    assert (tmp_path / "parts/part/file").read_text() == "two\n"


def test_a_sparse_checkout_has_what_the_patterns_say(repository: Repository) -> None:
    repository.commit("docs/a", "a")
    pinned = repository.commit("src/b", "b")
    assert repository.build(f"revision = {pinned}\nsparse-checkout =\n  /src/\n  /file").error == ""
    assert files(repository.tree) == ["file", "src/b"]
    assert repository.build("sparse-checkout = /docs/").error == ""
    assert [name for name in files(repository.copy) if not name.startswith(".git/")] == ["docs/a"]


def test_submodules_are_checked_out_when_asked_for(repository: Repository, tmp_path: Path) -> None:
    inner = Repository(tmp_path / "inner", repository.release)
    inner.folder.mkdir()
    git(inner.folder, "init", "-q", "-b", "main")
    inner.commit("inside", "text")
    git(repository.folder, "submodule", "--quiet", "add", str(inner.folder), "module")
    pinned = repository.commit("more", "")
    assert repository.build(f"revision = {pinned}").error == ""
    assert "module/inside" not in files(repository.tree)
    assert repository.build(f"revision = {pinned}\nsubmodules = true").error == ""
    assert files(repository.tree) == [".gitmodules", "file", "module/inside", "more"]


def test_a_submodule_of_a_repository_that_is_away_reads_no_local_path(
    repository: Repository, tmp_path: Path, serve_folder: Callable[[Path], str]
) -> None:
    """Else who writes .gitmodules could have any repository of this machine copied into the tree."""
    inner = Repository(tmp_path / "private", repository.release)
    inner.folder.mkdir()
    git(inner.folder, "init", "-q", "-b", "main")
    inner.commit("secret", "text")
    git(repository.folder, "submodule", "--quiet", "add", str(inner.folder), "module")
    pinned = repository.commit("more", "")
    git(repository.folder, "update-server-info")
    address = serve_folder(repository.folder / ".git")
    for lines in (f"revision = {pinned}\nsubmodules = true", "submodules = true"):
        error = repository.build(f"{lines}\nrepository = {address}").error
        assert "transport 'file' not allowed" in error
        assert error.startswith(f"[tree] {address}: git submodule: fatal: ")
        assert not list(repository.release.folder.rglob("secret"))
    assert repository.build(f"revision = {pinned}\nrepository = {address}").error == ""


def test_a_damaged_copy_in_the_source_cache_is_fetched_anew(repository: Repository) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    assert repository.build(f"revision = {pinned}").error == ""
    (cache,) = (path for path in (repository.release.sources / ".git").iterdir() if path.is_dir())
    objects = [path for path in cache.glob("objects/*/*") if path.is_file()]
    assert objects
    for path in objects:
        path.chmod(0o600)
        path.write_bytes(b"")
    assert repository.build(f"revision = {pinned}\nversion = 2").error == ""
    assert (repository.tree / "file").read_text() == "one\n"
    (cache / "HEAD").write_text("")
    (cache / "config").write_text("no")
    assert repository.build(f"revision = {pinned}\nversion = 3").error == ""


@pytest.mark.parametrize("step", ["init", "fetch", "checkout", "show"])
def test_a_run_that_is_killed_at_any_step_leaves_nothing_in_the_way(
    repository: Repository, tmp_path: Path, step: str
) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    killer = killing_git(tmp_path, step)
    result = repository.build(f"revision = {pinned}\ngit-executable = {killer}")
    assert "SIGKILL" in result.error
    assert not list((repository.release.folder / "store").glob("tree-*"))
    assert repository.build(f"revision = {pinned}").error == ""
    assert files(repository.tree) == ["file"]
    assert list((repository.release.folder / "store").iterdir()) == [repository.tree]


@pytest.mark.parametrize("step", ["clone", "checkout"])
def test_a_working_copy_that_was_killed_is_made_anew(repository: Repository, tmp_path: Path, step: str) -> None:
    result = repository.build(f"git-executable = {killing_git(tmp_path, step)}")
    assert "signal 9" in result.error
    assert not repository.copy.exists()
    assert repository.build("").error == ""
    assert list(repository.copy.parent.iterdir()) == [repository.copy]


def killing_git(folder: Path, step: str) -> Path:
    """Return a git that does a step, and then kills the run that asked for it."""
    program = folder / "killing-git"
    kill = "kill -9 $PPID; sleep 5"
    program.write_text(f'#!/bin/sh\ngit "$@" || exit\nif [ "$1" = {step} ]; then {kill}; fi\n')
    program.chmod(0o755)
    return program


def test_a_shared_tree_is_in_the_store_of_all_releases(repository: Repository, short_path: Path) -> None:
    pinned = git(repository.folder, "rev-parse", "HEAD")
    repository.release.write("software.cfg", f"[buildout]\nparts = tree\n[tree]\nrecipe = allotment.recipes:gitclone\nrepository = {repository.folder}\nrevision = {pinned}\nshared = true\n")  # fmt: skip  # noqa: E501
    root, sources = repository.release.root, repository.release.sources
    request = BuildRequest(root, "software.cfg", short_path / "b", sources, 60.0, store=short_path / "s")
    for _ in range(2):
        assert repository.release.engine.build(request, short_path / "log").error == ""
    (tree,) = padded_root(short_path / "s").glob("tree-*")
    assert files(tree) == ["file"]
    assert not (tree / "file").stat().st_mode & 0o222


def test_a_branch_is_followed_even_when_it_was_forced_back(repository: Repository) -> None:
    assert repository.build("branch = main").error == ""
    assert (repository.copy / "file").read_text() == "one\n"
    repository.commit("file", "two\n")
    assert repository.build("branch = main").error == ""
    assert (repository.copy / "file").read_text() == "two\n"
    git(repository.folder, "reset", "-q", "--hard", "HEAD~1")
    repository.commit("other", "forced\n")
    assert repository.build("branch = main").error == ""
    assert [name for name in files(repository.copy) if not name.startswith(".git/")] == ["file", "other"]
    assert repository.build("branch = main\ndepth = 1").error == "", "a changed section finds what is there"


def test_changes_of_the_user_s_are_never_lost(repository: Repository) -> None:
    assert repository.build("").error == ""
    (repository.copy / "file").write_text("mine")
    error = repository.build("").error
    assert error == f"[tree] {repository.copy} has changes of yours: file. Commit them, or write 'develop = true'."
    git(repository.copy, "commit", "-q", "-a", "-m", "mine")
    error = repository.build("").error
    assert error == f"[tree] {repository.copy} has commits of yours. Push them, or write 'develop = true'."
    assert (repository.copy / "file").read_text() == "mine"
    assert repository.release.build("[buildout]\nparts =\n").error == ""
    assert (repository.copy / "file").read_text() == "mine"


def test_commits_on_the_branch_that_is_followed_are_kept_while_another_is_checked_out(repository: Repository) -> None:
    git(repository.folder, "branch", "other")
    assert repository.build("branch = main").error == ""
    (repository.copy / "file").write_text("mine")
    git(repository.copy, "commit", "-q", "-a", "-m", "mine")
    mine = git(repository.copy, "rev-parse", "main")
    git(repository.copy, "checkout", "-q", "--detach", "origin/other")
    error = repository.build("branch = main").error
    assert error == f"[tree] {repository.copy} has commits of yours. Push them, or write 'develop = true'."
    assert git(repository.copy, "rev-parse", "main") == mine


def test_a_build_that_fails_leaves_the_working_copy(repository: Repository) -> None:
    assert repository.build("").error == ""
    repository.folder.rename(repository.folder.with_name("away"))
    assert "does not appear to be a git repository" in repository.build("").error
    assert (repository.copy / "file").read_text() == "one\n"


def test_a_developer_s_copy_is_left_alone_and_stays(repository: Repository) -> None:
    first = repository.commit("file", "two\n")
    repository.commit("file", "three\n")
    lines = f"develop = true\nlocation = checkout/of mine\nrevision = {first}\nbranch = main"
    assert repository.build(lines).error == ""
    copy = repository.release.folder / "checkout/of mine"
    assert (copy / "file").read_text() == "two\n"
    assert git(copy, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(copy, "config", "remote.origin.url") == str(repository.folder)
    (copy / "file").write_text("mine")
    assert repository.build(lines).error == ""
    assert repository.release.build("[buildout]\nparts =\n").error == ""
    assert (copy / "file").read_text() == "mine"


def test_depth_bounds_the_history_of_a_working_copy(repository: Repository) -> None:
    repository.commit("file", "two\n")
    repository.folder.rename(repository.folder.with_name("plain"))
    address = f"repository = file://{repository.folder.with_name('plain')}"
    assert repository.build(f"{address}\ndepth = 1").error == ""
    assert git(repository.copy, "rev-list", "--count", "HEAD") == "1"


def test_no_hook_or_filter_of_anybody_s_runs(repository: Repository, tmp_path: Path, monkeypatch: Any) -> None:
    """Those of templates, of the user's settings, and of the repository itself."""
    hooks = tmp_path / "templates/hooks"
    hooks.mkdir(parents=True)
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "templates"))
    pinned = repository.commit(".gitattributes", "* filter=evil\n")
    git(repository.folder, "config", "uploadpack.packObjectsHook", f"touch {tmp_path}/ran")
    git_of_ours = Git()
    folder = tmp_path / "out"
    git_of_ours.run(tmp_path, "clone", "--quiet", "--", str(repository.folder), str(folder))
    assert repository.build(f"revision = {pinned}").error == ""
    assert repository.build("develop = true").error == ""
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "repository =",
            "[tree] repository: '' is no address of a repository. Write https, ssh, git or",
        ),
        ("repository = ext::sh -c x", "[tree] repository: 'ext::sh -c x' is no address of a repository."),
        ("repository = --upload-pack=x", "[tree] repository: '--upload-pack=x' is no address of a repository."),
        ("repository = ftp://h/x", "[tree] repository: 'ftp://h/x' is no address of a repository."),
        (
            "repository = https://me:hunter2@h/x",
            "[tree] repository: https://h/x holds a name or password. Give",
        ),
        ("branch = --x", "[tree] branch: '--x' is not a branch's name. Write it like master."),
        ("branch = a..b", "[tree] branch: 'a..b' is not a branch's name."),
        ("revision = v1.0", "[tree] revision: 'v1.0' is not a commit's whole id. Write its 40 digits."),
        ("ignore-ssl-certificate = true", "[tree] ignore-ssl-certificate: a server is always verified. Install the"),
        ("depth = -1", "[tree] depth: is below zero. Write a positive number."),
        ("timeout = 0", "[tree] timeout: is below zero."),
        ("shared = true", "[tree] shared: nothing pins a working copy. Pin a revision, without 'develop'."),
        (f"location = x\nrevision = {'0' * 40}", "[tree] location: a pinned tree is in a store. Take it out, or write"),
        ("branch = gone", "Remote branch gone not found in upstream origin. Correct repository, branch or revision."),
        (f"revision = {'0' * 40}", f"there is no commit {'0' * 40} in its branches. Correct revision or branch."),
        (f"revision = {'0' * 40}\nbranch = main", f"there is no commit {'0' * 40} in branch main."),
        ("repository = /none/here", "[tree] /none/here: git clone: fatal: repository '/none/here' does not exist."),
        ("git-executable = /none/git", "[tree] "),
        ("location = .", "is there and is no working copy. Remove it, or choose another folder."),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(repository: Repository, lines: str, message: str) -> None:
    text = f"[buildout]\nparts = tree\n[tree]\nrecipe = allotment.recipes:gitclone\n{lines}\n"
    own = "" if lines.startswith("repository") else f"repository = {repository.folder}\n"
    error = repository.release.build(text + own).error
    assert message in error
    assert "hunter2" not in error


def test_a_git_that_never_answers_is_ended(tmp_path: Path) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nsleep 60\n")  # which holds the pipes when the shell is gone, as git's helpers do
    slow.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(Exception, match=r"git fetch took more than 0 s"):
        Git(str(slow), 0.1).run(tmp_path, "fetch")
    assert time.monotonic() - began < 50


def test_a_command_s_words_are_told_without_passwords(tmp_path: Path) -> None:
    tell = tmp_path / "git"
    tell.write_text("#!/bin/sh\necho \"fatal: unable to access 'https://me:hunter2@host/x': no\" >&2\nexit 128\n")
    tell.chmod(0o755)
    with pytest.raises(Exception, match="git fetch: fatal: unable to access 'https://host/x': no") as caught:
        Git(str(tell)).run(tmp_path, "fetch")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://h/x.git", "git@h:group/x.git", "ssh://git@h/x", "/a b", "../x", "file:///x"]
)
def test_an_address_is_accepted(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("branch", ["main", "feature/a-b_c", "1.0", "user@topic"])
def test_a_branch_is_accepted(branch: str) -> None:
    check_branch(branch)
    with pytest.raises(OptionProblem):
        check_branch(f"-{branch}")


def test_only_known_protocols_are_spoken(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="transport 'ext' not allowed"):
        Git().run(tmp_path, "ls-remote", "ext::sh -c true")


def test_a_link_leads_to_the_pinned_tree(repository: Repository) -> None:
    first = repository.commit("file", "one")
    assert repository.build(f"revision = {first}\nlink = work/tree").error == ""
    assert (repository.release.folder / "work/tree").readlink() == repository.tree
    assert (repository.release.folder / "work/tree/file").read_text() == "one"
    error = repository.build("branch = main\nlink = work/tree").error
    assert error == "[tree] link: leads to a pinned tree, and this is none. Write 'location = ...'."


# The tree's own hash


def tree_of(repository: Repository, revision: str) -> tuple[str, Path]:
    """Return the sha256 of a commit's tree as `allot source add` tells it, and the source cache."""
    cache = Path(repository.release.folder.parent / "sources")
    return add_git(str(repository.folder), revision, BlobStore(cache)).sha256, cache


def test_a_tree_is_known_by_the_sha256_of_its_archive(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "run").write_text("#!/bin/sh\n")
    (repository.folder / "run").chmod(0o755)
    (repository.folder / "link").symlink_to("sub/b")
    (repository.folder / os.fsdecode(b"odd \xff\\name")).write_text("odd")
    commit = repository.commit("sub/b", "two\n")
    sha256, cache = tree_of(repository, "main")
    again = add_git(str(repository.folder), commit, BlobStore(tmp_path / "other"))
    assert (again.sha256, again.options["revision"], again.options["tree-sha256"]) == (sha256, commit, sha256)
    names = subprocess.run(["tar", "-tf", str(BlobStore(cache).path(sha256))], capture_output=True, check=True).stdout
    assert names.split(b"\n")[:4] == [b"file", b"link", b"odd \\377\\\\name", b"run"]
    assert repository.build(f"revision = {commit}\ntree-sha256 = {sha256}").ok
    first = {path.name: (path.lstat().st_mode, path.lstat().st_mtime) for path in repository.tree.rglob("*")}
    assert len(first) == 6
    repository.folder.rename(tmp_path / "gone")
    remove(repository.tree)
    remove(cache / ".git")
    assert repository.build(f"revision = {commit}\ntree-sha256 = {sha256}").ok, "the archive is enough"
    assert {path.name: (path.lstat().st_mode, path.lstat().st_mtime) for path in repository.tree.rglob("*")} == first
    assert (repository.tree / "link").read_text() == "two\n"


def test_another_tree_under_the_same_commit_is_refused(repository: Repository) -> None:
    before = git(repository.folder, "rev-parse", "HEAD")
    commit = repository.commit("other", "two\n")
    (sha256, cache), (found, _) = tree_of(repository, before), tree_of(repository, commit)
    for archive in (sha256, found):  # whose bytes are there by the hash is taken at its word
        BlobStore(cache).path(archive).unlink()
    result = repository.build(f"revision = {commit}\ntree-sha256 = {sha256}")
    assert f"tree-sha256 should be {sha256}, but the tree of {commit} has {found}. Correct it if" in result.error
    assert list((repository.release.folder / "store").glob("tree-*")) == []
    assert found not in BlobStore(cache)


def test_a_damaged_archive_is_made_anew(repository: Repository) -> None:
    commit = repository.commit("other", "two\n")
    sha256, cache = tree_of(repository, commit)
    BlobStore(cache).path(sha256).write_bytes(b"damaged")
    assert repository.build(f"revision = {commit}\ntree-sha256 = {sha256}").ok
    assert (repository.tree / "other").read_text() == "two\n"


def test_a_link_that_leads_out_is_left_to_git(repository: Repository) -> None:
    (repository.folder / "passwords").symlink_to("/etc/passwd")
    commit = repository.commit("other", "two\n")
    sha256, _ = tree_of(repository, commit)
    assert repository.build(f"revision = {commit}\ntree-sha256 = {sha256}").ok
    assert os.readlink(repository.tree / "passwords") == "/etc/passwd"  # noqa: PTH115


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("tree-sha256 = abc\nrevision = " + "1" * 40, "[tree] tree-sha256: 'abc' is not a sha256. Write"),
        ("tree-sha256 = " + "1" * 64, "tree-sha256: is of a revision. Write the lines that 'allot source add' prints."),
    ],
)
def test_a_tree_hash_that_can_not_be_is_named(repository: Repository, lines: str, message: str) -> None:
    assert message in repository.build(lines).error
