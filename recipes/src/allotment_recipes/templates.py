# SPDX-License-Identifier: Apache-2.0
"""What the two template recipes share: where the template is, that it is the right one, and the file that is made."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError, nearest
from allotment.options import Mode, OptionProblem, check_one_given
from allotment_recipes.base import GenericBaseRecipe

_INTERPRETER = re.compile(r"#!\s*(\S+)")


@dataclass(frozen=True)
class TemplateOptions:
    output: Path  # the file that is written
    url: str = ""  # the template: a path, a file URL, or in a software release an http or https URL
    inline: str = ""  # the template itself, in place of url
    sha256sum: str = ""  # of the template, 64 hexadecimal digits; needed for http and https
    md5sum: str = ""  # the same for profiles that have md5 only
    mode: Mode | None = None  # permissions of output; default: 0755 for a script whose interpreter is here, else 0644


O = TypeVar("O", bound=TemplateOptions)  # noqa: E741 (the recipe's Options)


class TemplateRecipe(GenericBaseRecipe[O]):
    """Base of the template recipes."""

    def locate(self) -> None:
        """Tell others where the file will be; call it in ``prepare``."""
        check_one_given(url=self.options.url, inline="inline" in self.raw)
        self.output = self.path(self.options.output)
        self.publish_option("output", self.output)
        self.publish_option("location", self.output.parent)

    def read_template(self, url: str, encoding: str = "utf-8") -> str:
        """Return the text behind ``url``; bytes with another checksum are an error."""
        data = self._fetch(url) if re.match(r"https?://", url) else self.read_file(url)
        for option, wanted, found in (
            ("sha256sum", self.options.sha256sum, hashlib.sha256(data).hexdigest),
            ("md5sum", self.options.md5sum, hashlib.md5(data, usedforsecurity=False).hexdigest),
        ):
            if wanted and wanted.lower() != found():
                raise OptionProblem(option, f"of {url} is {found()}, not {wanted}", "Correct it, or the template")
        return self.decode(data, url, encoding)

    def template_files(self) -> list[Path]:
        """Return the file of the template, where it is one; of a URL the checksum says enough."""
        url = self.options.url
        return [self.path(url.removeprefix("file://"))] if url and not re.match(r"https?://", url) else []

    def inline(self) -> str:
        """Return the template in the profile, without the line end before its first line."""
        return self.options.inline.removeprefix("\n")

    def referred(self, option: str, section: str, name: str) -> Any:
        """Return ``${section:name}``, which ``option`` asks for; without a section it is one of ours."""
        owner = self.buildout[section] if section else self.raw
        try:
            return owner[name]
        except KeyError as error:
            problem = f"[{section or self.name}] has no option '{name}'"
            raise OptionProblem(option, problem, nearest(name, tuple(owner))) from error

    def read_file(self, url: str, option: str = "url") -> bytes:
        """Return what a file holds at the end of this run: another section may write it."""
        path = self.path(url.removeprefix("file://"))
        try:
            return self.run.journal.read(path)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OptionProblem(option, f"{path} can't be read: {reason}", "Correct the path") from error

    def decode(self, data: bytes, name: str, encoding: str, option: str = "url") -> str:
        """Return the bytes of the template ``name`` as text."""
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            problem = f"{name} can't be read: it is not {encoding.upper()} text"
            raise OptionProblem(option, problem, "Write it in that encoding") from error

    def write_output(self, text: str, encoding: str = "utf-8", *, private: bool = False) -> None:
        """Write the file, with a mode that suits it."""
        mode = self.options.mode if self.options.mode is not None else _mode_of(text)
        private = private or self.run.tokens.found_in(text)
        try:
            data = self.run.tokens.reveal(text).encode(encoding)
        except UnicodeEncodeError as error:
            problem = f"{text[error.start : error.end][:20]!r} can't be written in {encoding}"
            raise OptionProblem("encoding", problem, "Write utf-8") from error
        self.write(self.output, data, mode, private=private)

    def _fetch(self, url: str) -> bytes:
        if self.run.instance is not None:
            fix = "Fetch it in the software release, with the recipe download"
            raise OptionProblem("url", f"{url} is elsewhere, and an instance fetches nothing", fix)
        if not self.options.sha256sum:
            raise OptionProblem("sha256sum", "missing option", "Add the template's sha256, as sha256sum prints it")
        from allotment_recipes import sources

        blobs = BlobStore(self.run.sources)
        try:
            source = sources.Source(self.options.sha256sum.lower(), url.rpartition("/")[2], (url,))
        except AllotmentError as error:
            raise OptionProblem("sha256sum", error.what, error.fix) from error
        try:
            sources.fetch(source, blobs)
        except MachineError as error:
            raise MachineError(f"[{self.name}] url: {error.what}", error.fix) from error
        except AllotmentError as error:
            raise OptionProblem("url", error.what, error.fix) from error
        return blobs.read(source.sha256)


def _mode_of(text: str) -> int:
    found = _INTERPRETER.match(text)
    return 0o755 if found is not None and os.access(found[1], os.X_OK) else 0o644
