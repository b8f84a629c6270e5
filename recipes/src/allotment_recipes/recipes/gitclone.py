# SPDX-License-Identifier: Apache-2.0
"""Recipe ``gitclone``: a git repository, at one commit for ever, or as a working copy for development."""

import fcntl
import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.options import Lines, OptionProblem
from allotment_recipes import sources
from allotment_recipes.archive_limits import UnpackError
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.git_repository import REMOTE, Git, GitError, check_address, check_branch
from allotment_recipes.git_tree import pack_tree, settle, unpack_tree
from allotment_recipes.part_folder import filling, removable, replacing, telling_disk_errors
from allotment_recipes.providers.url import shown
from allotment_recipes.shared_store import remove
from allotment_recipes.source_cache import notes
from allotment_recipes.source_options import elsewhere, file_name

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Options:
    repository: str  # address of the repository: https, ssh, git or file URL, name@host:path, or a path
    revision: str = ""  # the commit, by its whole id; without it the branch is followed
    tree_sha256: str = ""  # of the commit's tree, as "allot source add" tells it: a SHA-1 alone can be forged
    branch: str = ""  # where the commit is, or what is followed; default: the repository's own
    develop: bool = False  # a working copy: made once, its changes are never touched
    location: Path | None = None  # folder of a working copy; default: parts/<section>
    link: Path | None = None  # of a pinned tree: a link that leads to it
    depth: int = 0  # commits of history in a working copy; 0: all
    sparse_checkout: Lines = Lines(())  # patterns of what to check out, as in .gitignore, one a line; default: all
    submodules: bool = False  # check them out too; those at a local path only when the repository is local itself
    git_executable: str = "git"  # the program to use
    forbid_download_cache: bool = False  # keep no copy of the repository in the source cache
    ignore_ssl_certificate: bool = False  # refused: whoever is in between could say what is in a branch
    timeout: float = 600.0  # seconds, for each command of git
    version: str = "1"  # a word in the part's folder name
    shared: bool = False  # into the store that all releases share; false: into the release's own


class Recipe(GenericBaseRecipe[Options]):
    """Check out a git repository; ``location`` is the folder.

    With ``revision`` it is the tree of that commit, in a store, without ``.git``. With a branch only, or with
    ``develop``, it is a working copy: without ``develop`` it follows the branch at each build, unless something in it
    was changed; with it, it is left alone once it is there. A working copy pins nothing and is never removed.
    No hook runs, no program that the repository names, and nobody is asked for a password.
    """

    build_version = 1
    builds_ahead = True
    not_inputs: ClassVar[frozenset[str]] = frozenset(
        {"repository", "branch", "depth", "link", "git-executable", "forbid-download-cache", "shared", "timeout"}
        | {"ignore-ssl-certificate"}
    )

    def prepare(self) -> None:
        options = self.options
        check_address(options.repository)
        if options.branch:
            check_branch(options.branch)
        if options.revision and not _COMMIT.fullmatch(options.revision):
            raise OptionProblem("revision", f"{options.revision!r} is not a commit's whole id", "Write its 40 digits")
        if options.tree_sha256 and (not _SHA256.fullmatch(options.tree_sha256) or not options.revision):
            problem = "is of a revision" if not options.revision else f"{options.tree_sha256!r} is not a sha256"
            raise OptionProblem("tree-sha256", problem, "Write the lines that 'allot source add' prints")
        if options.ignore_ssl_certificate:
            fix = "Install the server's authority on this machine, or use ssh"
            raise OptionProblem("ignore-ssl-certificate", "a server is always verified", fix)
        if options.depth < 0 or options.timeout <= 0:
            name = "depth" if options.depth < 0 else "timeout"
            raise OptionProblem(name, "is below zero", "Write a positive number")
        self.is_pinned = bool(options.revision) and not options.develop
        if self.is_pinned and options.location is not None:
            raise OptionProblem("location", "a pinned tree is in a store", "Take it out, or write 'develop = true'")
        if not self.is_pinned and options.link is not None:
            raise OptionProblem("link", "leads to a pinned tree, and this is none", "Write 'location = ...'")
        if not self.is_pinned and options.shared:
            raise OptionProblem("shared", "nothing pins a working copy", "Pin a revision, without 'develop'")
        self.git = Git(options.git_executable, options.timeout)
        self.address = options.repository if "://" in options.repository else self._path_or_ssh(options.repository)
        self.is_local = self.address.startswith(("/", "file:"))
        if self.run.instance is not None and not self.is_local:
            raise elsewhere("repository", shown(options.repository))
        self.location = self._location()
        self.publish_option("location", self.location)

    def install(self) -> list[Path]:
        """Check out what is pinned, once; bring a working copy up to date, or leave it alone."""
        try:
            if not self.is_pinned:
                with telling_disk_errors(self, self.location):
                    self._install_working_copy()
                return []  # else buildout would remove it, with what was changed by hand, when a build fails
            with filling(self, self.location, self.options.version) as folder:
                if folder is not None:
                    self._check_out(folder)
            links = [] if self.options.link is None else [self.link(self.options.link, self.location)]
            return [*removable(self, self.location), *links]
        except (GitError, MachineError) as error:
            if error.what.startswith("["):
                raise
            where = f"[{self.name}] {shown(self.options.repository)}: {error.what}"
            raise type(error)(where, error.fix or "Correct repository, branch or revision") from error

    def _location(self) -> Path:
        if self.is_pinned:
            return self.store_path(self.name, self.options.version, shared=self.options.shared)
        if self.options.location is not None:
            return self.path(self.options.location)
        return self.folder / "parts" / self.name

    def _path_or_ssh(self, text: str) -> str:
        return text if re.match(r"[^/]+:", text) else str(self.path(text))

    # A pinned commit.

    def tree(self) -> "Tree | None":
        """Return what there is to fetch before anything is built."""
        return Tree(self) if self.is_pinned else None

    def keep_tree(self, folder: Path) -> str:
        """Check the commit out into an empty folder and put its archive into the source cache; return the sha256."""
        self._check_out_of_git(folder)
        blobs = BlobStore(self.run.sources)
        blobs.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=blobs.folder, prefix=".tree-") as file:
            time = max((int(path.lstat().st_mtime) for path in folder.rglob("*")), default=0)  # of all it is the same
            found = pack_tree(folder, time, Path(file.name))
            wanted = self.options.tree_sha256
            if found != (wanted or found):
                raise GitError(
                    f"tree-sha256 should be {wanted}, but the tree of {self.options.revision} has {found}",
                    "Correct it if this is what you want, else look for who changed the repository",
                )
            if not self.options.forbid_download_cache:
                blobs.add(Path(file.name), found)
                notes.note(blobs, found, self._tree_name())
        return found

    def _tree_name(self) -> str:
        return f"{file_name(self.options.repository)} {self.options.revision[:12]}"

    def _check_out(self, folder: Path) -> None:
        if not self.options.tree_sha256:
            self._check_out_of_git(folder)
        elif not self._take_archive(folder):
            self.keep_tree(folder)

    def _take_archive(self, folder: Path) -> bool:
        """Take the tree from the source cache, or another machine's, if one has it."""
        blobs = BlobStore(self.run.sources)
        try:
            sources.fetch(sources.Source(self.options.tree_sha256, self._tree_name()), blobs)
        except sources.SourceError:
            return False
        try:
            unpack_tree(blobs.path(self.options.tree_sha256), folder)
        except UnpackError as error:  # such as a link that leads out, which git makes: it may not be what it is to be
            self.logger.info("%s: taken from git", error.what)
            for path in folder.iterdir():
                remove(path)
            return False
        self.logger.info("took %s of %s from the source cache", self.options.revision[:12], shown(self.address))
        return True

    def _check_out_of_git(self, folder: Path) -> None:
        revision = self.options.revision
        if self.options.forbid_download_cache:
            with tempfile.TemporaryDirectory(prefix="allotment-git-") as temporary:
                self._take(self.bring(Path(temporary)), folder)
        else:
            with self.cache() as cache:
                self._take_from(cache, folder)
        self._export(folder)
        self.logger.info("checked out %s of %s", revision[:12], shown(self.options.repository))

    def cache_folder(self) -> Path:
        """Return where the copy of the repository is, or would be, that is kept beside the sources."""
        return self.run.sources / ".git" / hashlib.sha256(self.address.encode()).hexdigest()

    @contextmanager
    def cache(self) -> Iterator[Path]:
        """Hold the copy of the repository that is kept beside the sources."""
        folder = self.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in (*folder.rglob("*.lock"), *folder.glob("objects/*/tmp_*")):  # of a git that was killed
                path.unlink()  # nobody else is here
            yield folder

    def _take_from(self, cache: Path, folder: Path) -> None:
        try:
            self._take(self.bring(cache), folder)
        except GitError:
            if self._is_whole(cache):
                raise
            self.logger.warning("%s is damaged: it is fetched anew", cache)
            for damaged in (cache, folder / ".git"):
                remove(damaged)
            cache.mkdir()
            self._take(self.bring(cache), folder)

    def _is_whole(self, repository: Path) -> bool:
        try:
            self.git.run(repository, "fsck", "--no-dangling", "--no-progress")
        except GitError:
            return False
        return True

    def bring(self, repository: Path) -> Path:
        """Have the commit in a bare repository: by itself where the server gives it, or with its branch's history."""
        revision = self.options.revision
        shape = "sha256" if len(revision) == 64 else "sha1"  # made whole when a git was killed while it made it
        self.git.run(repository, "init", "--quiet", "--bare", f"--object-format={shape}")
        goal = f"refs/allotment/{revision}"
        if self.has(repository, goal):
            return repository
        fetch = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        try:
            self.git.run(repository, *fetch, "--depth=1", "--", self.address, f"+{revision}:{goal}")
        except GitError:
            branch = f"refs/heads/{self.options.branch or '*'}"
            name = self.options.branch or "*"
            self.git.run(repository, *fetch, "--", self.address, f"+{branch}:refs/heads/{name}")
            if not self.has(repository, revision):
                wanted = f"branch {self.options.branch}" if self.options.branch else "its branches"
                raise GitError(f"there is no commit {revision} in {wanted}", "Correct revision or branch") from None
            self.git.run(repository, "update-ref", goal, revision)
        return repository

    def has(self, repository: Path, name: str) -> bool:
        try:
            self.git.run(repository, "cat-file", "-e", f"{name}^{{commit}}")
        except GitError:
            return False
        return True

    def _take(self, repository: Path, folder: Path) -> None:
        revision = self.options.revision
        shape = "sha256" if len(revision) == 64 else "sha1"
        self.git.run(folder, "init", "--quiet", f"--object-format={shape}")
        source = f"file://{repository}"
        self.git.run(folder, "fetch", "--quiet", "--no-tags", "--depth=1", "--", source, f"refs/allotment/{revision}")

    def _export(self, folder: Path) -> None:
        """Check the commit out, and leave neither ``.git`` nor times of today."""
        revision = self.options.revision
        self._choose(folder)
        self.git.run(folder, "checkout", "--quiet", "--detach", revision)
        if self.options.submodules:
            self._bring_submodules(folder)
        found = self.git.run(folder, "rev-parse", "HEAD").strip()
        if found != revision:
            raise GitError(f"checked out {found}, not {revision}", "Report this")
        time = int(self.git.run(folder, "show", "--no-patch", "--format=%ct", revision))
        for name in [path for path in folder.rglob(".git") if path.parent == folder or self.options.submodules]:
            remove(name) if name.is_dir() and not name.is_symlink() else name.unlink()
        settle(folder, time)

    def _choose(self, folder: Path) -> None:
        if self.options.sparse_checkout:
            self.git.run(folder, "config", "core.sparseCheckout", "true")
            patterns = folder / ".git" / "info" / "sparse-checkout"
            patterns.parent.mkdir(exist_ok=True)
            patterns.write_text("\n".join(self.options.sparse_checkout) + "\n")

    def _bring_submodules(self, folder: Path) -> None:
        self.git.run(folder, "config", "remote.origin.url", self.address)  # what relative addresses begin at
        git = self.git if self.is_local else replace(self.git, protocols=REMOTE)  # not what others wrote about our disk
        git.run(folder, "submodule", "--quiet", "update", "--init", "--recursive", "--checkout")

    # A working copy.

    def _install_working_copy(self) -> None:
        if (self.location / ".git").exists():
            if not self.options.develop:
                self._follow()
            return
        if self.location.exists() and (not self.location.is_dir() or any(self.location.iterdir())):
            problem = f"[{self.name}] location: {self.location} is there and is no working copy"
            raise AllotmentError(problem, "Remove it, or choose another folder")
        with replacing(self.location) as folder:
            self._clone(folder)

    def _clone(self, folder: Path) -> None:
        options = self.options
        arguments = ["--quiet", "--no-checkout", *(["--branch", options.branch] if options.branch else [])]
        arguments += (
            [f"--depth={options.depth}", "--no-single-branch"] if options.depth and not options.revision else []
        )
        self.git.run(folder.parent, "clone", *arguments, "--", self.address, str(folder))
        self._choose(folder)
        if options.revision and options.branch:
            self.git.run(folder, "reset", "--quiet", "--hard", options.revision)
        else:
            self.git.run(folder, "checkout", "--quiet", *(["--detach", options.revision] if options.revision else []))
        if options.submodules:
            self._bring_submodules(folder)

    def _follow(self) -> None:
        """Bring the working copy to where the branch is now; what was changed in it is never lost."""
        if changed := self.git.run(self.location, "status", "--porcelain", "--untracked-files=no").splitlines():
            names = ", ".join(line[3:] for line in changed[:5])
            raise AllotmentError(
                f"[{self.name}] {self.location} has changes of yours: {names}", "Commit them, or write 'develop = true'"
            )
        branch = self.options.branch or self.git.run(self.location, "rev-parse", "--abbrev-ref", "HEAD").strip()
        depth = [f"--depth={self.options.depth}"] if self.options.depth else []
        goal = f"refs/remotes/origin/{branch}"
        refspec = f"+refs/heads/{branch}:{goal}"
        before = self.git.run(self.location, "rev-parse", "HEAD").strip()
        followed = self.git.run(self.location, "for-each-ref", "--format=%(refname)", f"refs/heads/{branch}").split()
        known = self.git.run(
            self.location, "rev-list", "--max-count=1", "HEAD", *followed, "--not", "--remotes"
        ).strip()
        if known:
            raise AllotmentError(
                f"[{self.name}] {self.location} has commits of yours", "Push them, or write 'develop = true'"
            )
        self.git.run(self.location, "fetch", "--quiet", "--no-tags", *depth, "--", self.address, refspec)
        self.git.run(self.location, "checkout", "--quiet", "-B", branch, goal)
        if self.options.submodules:
            self._bring_submodules(self.location)
        after = self.git.run(self.location, "rev-parse", "HEAD").strip()
        if after != before:
            self.logger.info("%s: from %s to %s", branch, before[:12], after[:12])


@dataclass(frozen=True)
class Tree:
    """What a pinned part of this recipe wants of the source cache."""

    recipe: Recipe

    @property
    def name(self) -> str:
        """The repository and the commit, for people."""
        return f"{shown(self.recipe.options.repository)} {self.recipe.options.revision[:12]}"

    @property
    def pin(self) -> str:
        """What says which bytes are right."""
        options = self.recipe.options
        return f"sha256:{options.tree_sha256}" if options.tree_sha256 else f"commit:{options.revision}"

    def found(self, blobs: BlobStore) -> Path | None:
        """Return the archive of the tree, or else the copy of the repository that has the commit."""
        wanted, cache = self.recipe.options.tree_sha256, self.recipe.cache_folder()
        if wanted:
            return blobs.path(wanted) if wanted in blobs else None
        goal = f"refs/allotment/{self.recipe.options.revision}"
        return cache if cache.is_dir() and self.recipe.has(cache, goal) else None

    def bring(self, blobs: BlobStore) -> None:
        """Have it in the source cache."""
        recipe = self.recipe
        if not recipe.options.tree_sha256:
            with recipe.cache() as cache:
                recipe.bring(cache)
            return
        try:
            sources.fetch(sources.Source(recipe.options.tree_sha256, self.name), blobs)
        except sources.SourceError:
            with tempfile.TemporaryDirectory(prefix="allotment-tree-") as folder:
                recipe.keep_tree(Path(folder))
