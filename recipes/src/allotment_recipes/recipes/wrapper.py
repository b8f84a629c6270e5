# SPDX-License-Identifier: Apache-2.0
"""Recipe ``wrapper``: a script that starts a program, for ``etc/service``, ``etc/run`` or ``bin``."""

import hashlib
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError, nearest
from allotment.options import Arguments, Lines, OptionProblem, Words
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.scripts import program, read_environment, refuse_secrets, write_script

_SIZE = re.compile(r"[1-9][0-9]*[kmgKMG%]?")


@dataclass(frozen=True)
class Options:
    command_line: Arguments  # the program and its arguments, quoted as in a shell; nothing is expanded
    wrapper_path: Path  # the script that is written
    environment: str = ""  # NAME=value a line, or the name of a section with these; a value may be a secret
    wait_for_files: Lines = Lines(())  # start only when these files exist, one a line
    hash_files: Lines = Lines(())  # files of this profile; the script changes when one does, which restarts a service
    hash_existing_files: Lines = Lines(())  # the same for files that no section writes
    pidfile: Path | None = None  # holds the process's number; while that process lives, no other starts
    private_tmpfs: Lines = Lines(())  # size and folder a line: memory that only this service sees there
    reserve_cpu: bool = False  # ask for a CPU core of its own, as nodes of SlapOS give
    sig_ign: Words = Words(())  # signals that the program ignores from its start, such as SIGHUP
    redirect_stdout: Path | None = None  # file that standard output is appended to
    redirect_stderr: Path | None = None  # the same for errors; may be the same file
    redirect_signal: str = ""  # signal, such as SIGUSR1, at which both files are opened again: for log rotation


class Recipe(GenericBaseRecipe[Options]):
    """Write a script that replaces itself by ``command-line``, passing its own arguments on.

    A secret on the command line is refused, because every user of the machine can read that in the process list. The
    process that the supervisor sees is the program itself; with ``redirect-signal`` one stands before it that holds the
    files, forwards signals and ends as the program does.
    """

    def prepare(self) -> None:
        refuse_secrets(self, "command-line", str(self.raw["command-line"]))
        self.environment = read_environment(self, self.options.environment)
        self.words = [*self._launch(), *self.options.command_line]
        # Read now, not when this part's turn comes: nobody writes them, so it changes nothing but the error's time.
        self.hashes = [self._hash("hash-existing-files", name) for name in self.options.hash_existing_files]
        self.publish_option("wrapper-path", self.path(self.options.wrapper_path))

    def install(self) -> list[Path]:
        """Write the script, executable by its owner only."""
        hashes = [self._hash("hash-files", name) for name in self.options.hash_files]
        return [write_script(self, self.options.wrapper_path, self.words, self.environment, hashes + self.hashes)]

    def watched(self) -> list[Path]:
        return list(map(self.path, (*self.options.hash_files, *self.options.hash_existing_files)))

    def _launch(self) -> list[str]:
        """Return the words that stand before the command when it asks for more than a shell can do."""
        words = list(self._flags())
        return [*program("launch"), *words, "--"] if words else []

    def _flags(self) -> Iterator[str]:
        options = self.options
        for name in options.wait_for_files:
            yield from ("--wait-for", str(self.path(name)))
        for line in options.private_tmpfs:
            yield from ("--tmpfs", *self._tmpfs(line))
        for name in options.sig_ign:
            yield from ("--ignore", _signal("sig-ign", name))
        for flag, path in (
            ("--pidfile", options.pidfile),
            ("--stdout", options.redirect_stdout),
            ("--stderr", options.redirect_stderr),
        ):
            if path is not None:
                yield from (flag, str(self.path(path)))
        if options.reserve_cpu:
            yield "--reserve-cpu"
        if options.redirect_signal:
            if options.redirect_stdout is None and options.redirect_stderr is None:
                raise OptionProblem(
                    "redirect-signal", "there is no file to open again", "Add redirect-stdout or redirect-stderr"
                )
            yield from ("--reopen-on", _signal("redirect-signal", options.redirect_signal))

    def _tmpfs(self, line: str) -> tuple[str, str]:
        size, _, folder = line.partition(" ")
        if not _SIZE.fullmatch(size) or not folder.strip():
            raise OptionProblem(
                "private-tmpfs", f"{line!r} is not a size and a folder", "Write it like: 100m var/cache"
            )
        return size, str(self.path(folder.strip()))

    def _hash(self, option: str, name: str) -> str:
        path = self.path(name)
        try:
            data = self.run.journal.read(path) if option == "hash-files" else path.read_bytes()
        except OSError as error:
            fix = "Let the part that writes it come first, by referring to it"
            if option != "hash-files":
                fix = "Correct the path; a file that a section of this profile writes belongs into hash-files"
            raise AllotmentError(f"[{self.name}] {option}: {path} can't be read: {error.strerror}", fix) from error
        return f"{hashlib.sha256(data).hexdigest()}  {name}"


def _signal(option: str, name: str) -> str:
    """Return a signal's name without ``SIG``."""
    word = name.strip().upper().removeprefix("SIG")
    known = [item.name.removeprefix("SIG") for item in signal.Signals]
    if word not in known or word in ("KILL", "STOP"):
        known = [item for item in known if item not in ("KILL", "STOP")]
        raise OptionProblem(option, f"'{name}' is not a signal that a program can handle", nearest(word, known))
    return word
