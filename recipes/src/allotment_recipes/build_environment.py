# SPDX-License-Identifier: Apache-2.0
"""The environment of a build: nothing of ours, the referred parts where compilers look, and the rpath set."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes.hermetic.host_tools import PREFIX_MAP
from allotment_recipes.hermetic.root import HOST_FOLDERS

_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*")
_INSERTED: Final = re.compile(r"%\((\w+)\)s")
HOST_PATH: Final = ":".join(map(str, HOST_FOLDERS))  # the machine's programs
_BUILD: Final = "/build"  # what compilers write down instead of the work folder
_EPOCH: Final = "315532800"  # 1980-01-01, the first date that every archive format can hold


def build_environment(
    location: Path, parts: Sequence[Path], work: Path, variables: Mapping[str, str], programs: str = HOST_PATH
) -> dict[str, str]:
    """Return the environment in which the part ``location`` is built.

    ``parts`` are the parts it refers to, ``programs`` the PATH of the machine's programs. ``variables`` come from the
    profile; ``%(NAME)s`` in them stands for the value that NAME would have without them. LDFLAGS always ends with our
    rpath: a program that finds its libraries only on this machine is of no use in the store.
    """
    base = {
        **basics(work, ":".join([*(f"{part}/bin" for part in parts), programs])),
        PREFIX_MAP: f"{work}={_BUILD}",
        # Autoconf's own default has -g, which writes the sources' folder into each object.
        "CFLAGS": "-O2",
        "CXXFLAGS": "-O2",
        **_compiler(location, parts),
    }
    linking = base.pop("LDFLAGS")
    found = {**base, **{name: _insert(name, text, {**base, "LDFLAGS": ""}) for name, text in variables.items()}}
    found["LDFLAGS"] = f"{found.get('LDFLAGS', '')} {linking}".strip()
    return found


def read_variables(text: str, option: str = "environment") -> dict[str, str]:
    """Return lines like ``NAME = value`` as variables."""
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, sign, value = (word.strip() for word in line.partition("="))
        if not sign or not _VARIABLE.fullmatch(name):
            raise OptionProblem(option, f"{line!r} is not NAME=value", "Write one variable a line, or a section's name")
        found[name] = value
    return found


def missing_tools(tools: Sequence[str]) -> dict[str, str]:
    """Map those of ``program`` or ``program:package`` that this machine lacks to their Debian packages."""
    named = (tool.partition(":")[::2] for tool in tools)
    return {program: package or program for program, package in named if not shutil.which(program, path=HOST_PATH)}


def basics(work: Path, path: str) -> dict[str, str]:
    """Return what everything that is run in a build has, with folders in ``work``."""
    return {
        "PATH": path,
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
        "LC_ALL": "C",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": _EPOCH,
    }


def _compiler(location: Path, parts: Sequence[Path]) -> dict[str, str]:
    """Return where headers and libraries are, for build systems that ask and, by gcc's variables, those that don't.

    LD_RUN_PATH counts only where the command line has no -rpath at all, and libtool writes one: hence LDFLAGS too.
    """
    run_path = [f"{folder}/lib" for folder in (location, *parts)]
    found = {
        "LDFLAGS": " ".join([*(f"-L{part}/lib" for part in parts), *(f"-Wl,-rpath={item}" for item in run_path)]),
        "LD_RUN_PATH": ":".join(run_path),
        # Set also when there are no parts: the machine's own packages are none of ours.
        "PKG_CONFIG_LIBDIR": ":".join(f"{part}/{name}/pkgconfig" for part in parts for name in ("lib", "share")),
    }
    if parts:
        found["CPATH"] = ":".join(f"{part}/include" for part in parts)
        found["LIBRARY_PATH"] = ":".join(run_path[1:])
        found["CMAKE_PREFIX_PATH"] = ":".join(map(str, parts))
    return found


def _insert(name: str, text: str, base: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in base:
            raise OptionProblem("environment", f"{name} asks for %({match[1]})s, which is not set", "Write the value")
        return base[match[1]]

    return _INSERTED.sub(value, text)
