# SPDX-License-Identifier: Apache-2.0
"""How CMake, Meson, ninja and make are called for a part of the store: the same for each recipe that does it."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from allotment_recipes.source_build import MakeOptions

TOOLS: Final = {"configure": ("make",), "cmake": ("cmake", "make"), "meson": ("meson", "ninja")}


def cmake(
    source: str, build: Path, prefix: str, parts: Sequence[Path], kind: str = "Release", generator: str = "make"
) -> str:
    """Return the command that configures with CMake for the store: it would drop every rpath when it installs."""
    search = dict.fromkeys(f"{folder}/lib" for folder in (prefix, *parts))
    settings = [
        "-GNinja" if generator == "ninja" else "-GUnix Makefiles",
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        f"-DCMAKE_BUILD_TYPE={kind}",
        f"-DCMAKE_INSTALL_RPATH={';'.join(search)}",
        "-DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON",
        "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF",
        "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
    ]
    return f"cmake -S {shlex.quote(source)} -B {shlex.quote(str(build))} {shlex.join(settings)}"


def meson(source: str, build: Path, prefix: str, kind: str = "release") -> str:
    """Return the command that configures with Meson for the store."""
    settings = [f"--prefix={prefix}", "--libdir=lib", f"--buildtype={kind}", "--wrap-mode=nodownload"]
    folders = [str(build)] if source == "." else [str(build), source]
    return f"meson setup {shlex.join(folders)} {shlex.join(settings)}"


def making(options: MakeOptions, make: str, targets: str = "") -> Iterator[tuple[str, str]]:
    """Yield the steps that build ``targets`` and install with ``make``, which has its options already."""
    yield "pre-build", options.pre_build
    yield "make", f"{make} {targets}".rstrip()
    yield "pre-install", options.pre_install
    yield "make install", f"{make} {' '.join(options.make_targets)}" if options.make_targets else ""
    yield "post-install", options.post_install


def joined(text: str) -> str:
    """Return arguments that stand on several lines as one."""
    return " ".join(text.split("\n")).strip()
