# SPDX-License-Identifier: Apache-2.0
"""What the Python of a profile finds around it: the names that users of SlapOS know, and ours."""

import contextlib
import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.patches import read_patches
from allotment_recipes.shell import run_command
from allotment_recipes.source_options import file_name, pinned_source

if TYPE_CHECKING:
    from allotment_recipes.sources import Source

_INSERTED = re.compile(r"%(?:%|\((\w+)\)s)")


class ScriptError(AllotmentError):
    """What a snippet asked for can't be done."""


class ScriptOptions(MutableMapping[str, Any]):
    """The section's options, those that the profile writes by ``dumps`` as values; what is set, other sections read."""

    def __init__(self, raw: MutableMapping[str, str]) -> None:
        self._raw = raw
        self._set: set[str] = set()
        self.changes: dict[str, str | None] = {}  # option -> what it was set to; None: it was deleted

    def __getitem__(self, option: str) -> Any:
        value = getattr(self._raw, "value", None)
        return self._raw[option] if value is None or option in self._set else value(option)

    def __setitem__(self, option: str, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"option {option}: {value!r} is not text")
        self._raw[option] = value
        self._set.add(option)
        self.changes[option] = value

    def __delitem__(self, option: str) -> None:
        del self._raw[option]
        self.changes[option] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def barrier(self) -> None:
        """Do nothing: only what the profile says is an input of a part here, never what is read or set later."""


class ScriptTools:
    """``self`` of a snippet. What it makes in temporary folders goes when the snippet ends."""

    def __init__(self, recipe: GenericBaseRecipe[Any], variables: Mapping[str, str]) -> None:
        self.buildout = recipe.buildout
        self.name = recipe.name
        self.options = ScriptOptions(recipe.raw)
        self.logger = recipe.logger
        self._recipe = recipe
        self._variables = variables
        self.written: list[Path] = []  # by ``write``
        self._temporary = contextlib.ExitStack()

    def close(self) -> None:
        """Remove the temporary folders."""
        self._temporary.close()

    def enter(self, environment: Mapping[str, str] | None) -> None:
        """Take another environment for this process', if there is one; what ``init`` set in ``environ`` stays."""
        known = self.__dict__.get("environ", {})
        if environment is not None:
            for name in [name for name in known if known[name] == os.environ.get(name)]:
                del known[name]
            known |= {**environment, **known}

    @functools.cached_property
    def environ(self) -> dict[str, str]:
        """The environment with the variables of the option ``environment``, in which ``%(NAME)s`` is replaced."""
        found = {name: _inserted(name, text) for name, text in self._variables.items()}
        return {**os.environ, **{name: self.reveal(text) for name, text in found.items()}}

    # Names that users of SlapOS know.

    def download(self, url: str | None = None, md5sum: str | None = None, sha256sum: str | None = None) -> str:
        """Return the path of a copy of what is behind a URL, by default the option ``url``, checked."""
        if self._recipe.run.instance is not None:
            raise ScriptError("an instance fetches nothing", "Fetch it in the software release")
        options = {name: self.options.get(name, "") for name in ("md5sum", "sha256sum")} if url is None else {}
        url = url or self.options.get("url", "")
        if not url:
            raise ScriptError("download() has no URL", "Add 'url = ...'")
        sha256sum, md5sum = sha256sum or options.get("sha256sum", ""), md5sum or options.get("md5sum", "")
        if not sha256sum and hasattr(self._recipe.raw, "locked"):
            sha256sum = self._recipe.raw.locked(url, md5sum)
        source = pinned_source(file_name(url), sha256sum, md5sum, (url,))
        self.fetch([source])
        blobs = BlobStore(self._recipe.run.sources)
        target = self._folder() / (source.name or "download")
        blobs.copy(source.sha256, target)
        return str(target)

    def extract(self, path: str) -> str:
        """Return a temporary folder with what an archive holds."""
        from allotment_recipes.unpack import unpack

        folder = self._folder() / "extracted"
        unpack(Path(path), folder, strip_top_level=False)
        return str(folder)

    def copyTree(
        self, origin: str, destination: str, ignore: Callable[[Any, list[str]], Sequence[str]] | None = None
    ) -> None:
        """Copy a folder; what stands under ``destination`` already stays."""
        shutil.copytree(origin, destination, symlinks=True, ignore=ignore, dirs_exist_ok=True)

    def pipeCommand(self, commands: Sequence[Sequence[str]], **settings: Any) -> None:
        """Run programs, each reading what the one before it writes; one that fails is an error.

        ``settings`` are those of ``subprocess.Popen``. What they print is in the log when they have ended.
        """
        with tempfile.TemporaryFile() as output:
            try:
                self._pipe(commands, output, {"env": self.environ, "stderr": output, **settings})
            finally:
                output.seek(0)
                for line in output:
                    self.logger.info("%s", self._recipe.run.tokens.scrub(line.decode(errors="replace").rstrip()))

    def _pipe(self, commands: Sequence[Sequence[str]], output: IO[bytes], settings: Mapping[str, Any]) -> None:
        running: list[subprocess.Popen[bytes]] = []
        source: Any = subprocess.DEVNULL
        try:
            for number, command in enumerate(commands, start=1):
                target = subprocess.PIPE if number < len(commands) else output
                process = subprocess.Popen(command, stdin=source, stdout=target, **settings)
                if running and running[-1].stdout is not None:
                    running[-1].stdout.close()  # so that it is told when its reader ends
                running.append(process)
                source = process.stdout
        except OSError as error:
            for process in running:
                process.kill()
            raise ScriptError(f"{command[0]} can't be run: {error.strerror}") from error
        finally:
            codes = [process.wait() for process in running]
        for number, (command, code) in enumerate(zip(commands, codes, strict=True), start=1):
            if code and (code != -signal.SIGPIPE or number == len(commands)):
                raise ScriptError(f"{' '.join(command)} failed with exit code {code}")

    def applyPatchList(
        self,
        patch_string: str,
        patch_options: str | None = None,
        patch_binary: str | None = None,
        cwd: str | None = None,
    ) -> None:
        """Apply patches, ``path#checksum`` a line, to the sources in ``cwd``."""
        patches = read_patches(filter(None, map(str.strip, patch_string.splitlines())), self._recipe.path)
        blobs = BlobStore(self._recipe.run.sources)
        self.fetch([patch.source for patch in patches if patch.source])
        options = (patch_options or "-p0").split()
        for patch in patches:
            words = [patch_binary or "patch", "--batch", "--forward", *options, "-i", str(patch.path(blobs.folder))]
            self.run(*words, cwd=cwd)

    def failIfPathExists(self, path: str) -> None:
        """Raise when something is in the way."""
        if os.path.lexists(path):
            raise ScriptError(f"{path} exists already", "Remove it")

    # Ours.

    def run(self, *command: str, cwd: str | Path | None = None) -> None:
        """Run a program, its output in the log; one that fails is an error with its last lines."""
        scrub = self._recipe.run.tokens.scrub
        folder = self._recipe.path(cwd) if cwd is not None else Path.cwd()
        try:
            ended = run_command(command, folder, self.environ, lambda line: self.logger.info("%s", scrub(line)))
        except OSError as error:
            raise ScriptError(f"{command[0]} can't be run: {error.strerror}") from error
        if ended.code != 0:
            raise ScriptError(scrub(ended.problem(" ".join(command))))

    def write(self, path: str | Path, text: str, mode: int = 0o644) -> str:
        """Write a file with its secrets in place, private when it holds one; it goes with the part."""
        written = self._recipe.write(path, text, mode)
        self.written.append(written)
        return str(written)

    def fetch(self, wanted: Sequence["Source"]) -> None:
        """Bring sources into the source cache."""
        from allotment_recipes import sources

        sources.fetch_all(wanted, BlobStore(self._recipe.run.sources))

    def reveal(self, text: str) -> str:
        """Return a text with its secrets in place: for a program that uses it, never to show it."""
        return self._recipe.run.tokens.reveal(text)

    def hide(self, value: str) -> str:
        """Return what stands for a secret in options."""
        return self._recipe.run.tokens.token(Secret(value))

    def _folder(self) -> Path:
        return Path(self._temporary.enter_context(tempfile.TemporaryDirectory(prefix=f"{self.name[:30]}-")))


def guessworkdir(folder: str) -> str:
    """Return the only folder in ``folder``, as archives have one; or ``folder`` itself."""
    inside = list(Path(folder).iterdir())
    return str(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def guess_platform() -> str:
    """Return the machine's kind as old profiles call it: ``x86`` or ``x86-64``."""
    machine = platform.machine()
    names = {"x86_64": "x86-64", "amd64": "x86-64", "i386": "x86", "i586": "x86", "i686": "x86"}
    return names.get(machine, machine)


def multiarch() -> str:
    """Return the machine's kind as Debian calls it, such as ``x86_64-linux-gnu``."""
    return str(sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu")


def is_true(value: str | None) -> bool:
    """Return whether an option says so; none does not."""
    return (value or "").strip().lower() in ("true", "yes", "y", "on", "1")


def scope(tools: ScriptTools, location: str) -> dict[str, Any]:
    """Return the global names of a snippet."""
    return {
        "__name__": tools.name,
        "self": tools,
        "options": tools.options,
        "buildout": tools.buildout,
        "location": location,
        "guessworkdir": guessworkdir,
        "is_true": is_true,
        "guessPlatform": guess_platform,
        "multiarch": multiarch,
    }


@contextlib.contextmanager
def in_place(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Work in a folder; what a snippet does to the environment or the working folder ends with it.

    ``environment`` takes the place of ours for that time.
    """
    variables = dict(os.environ)
    with contextlib.chdir(folder):
        try:
            if environment is not None:
                os.environ.clear()
                os.environ.update(environment)
            yield
        finally:
            os.environ.clear()
            os.environ.update(variables)


def _inserted(name: str, text: str, base: Mapping[str, str] = os.environ) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%"
        if match[1] not in base:
            raise OptionProblem("environment", f"{name} asks for %({match[1]})s, which is not set", "Write the value")
        return base[match[1]]

    return _INSERTED.sub(value, text)
