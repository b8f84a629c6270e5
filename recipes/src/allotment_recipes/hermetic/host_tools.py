# SPDX-License-Identifier: Apache-2.0
"""The programs of the machine that every build may use; what else one needs, its section names in ``host-tools``.

They are what it takes to run a configure script and make: their versions decide nothing of what is installed, but for
the compiler's, which is in every part's hash. No language is among them, and nothing that would find other software.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from allotment_recipes.hermetic.root import HOST_FOLDERS, real_programs

_TARGET: Final = f"{platform.machine()}-linux-gnu-"  # Debian's Python names its compiler so, others' configure scripts
COMPILERS: Final[Sequence[str]] = (
    "c++",
    "cc",
    "cpp",
    "g++",
    "gcc",
    *(_TARGET + name for name in ("cpp", "g++", "gcc")),
)
_COMPILER_TOOLS: Final = "c89 c99 gcc-ar gcc-nm gcc-ranlib gcov lto-dump"
_BINUTILS: Final = """
addr2line ar as c++filt dwp elfedit gprof ld ld.bfd ld.gold nm objcopy objdump ranlib readelf size strings strip
"""
_COREUTILS: Final = """
[ arch b2sum base32 base64 basename basenc cat chgrp chmod chown cksum comm cp csplit cut date dd df dir dirname du
echo env expand expr factor false fmt fold groups head hostid hostname id install join kill link ln logname ls md5sum
mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pr printenv printf ptx pwd readlink realpath
rm rmdir seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac
tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink users vdir wc who whoami yes
"""
_SHELL_AND_TEXT: Final = """
bash dash getopt sh which awk cmp diff diff3 ed egrep fgrep file find gawk grep mawk nawk patch sdiff sed xargs
"""
_ARCHIVES: Final = """
bunzip2 bzcat bzip2 cpio gunzip gzip lzcat lzma tar uncompress unlzma unxz unzstd xz xzcat zcat zstd zstdcat
"""
# make, what configure scripts ask the C library by, and what reads the .pc files of the parts that are referred to.
_BUILDING: Final = "getconf gmake ldd locale make pkg-config pkgconf"
_PREFIXED: Final = " ".join(_TARGET + name for name in f"{_COMPILER_TOOLS} {_BINUTILS}".split())
HOST_TOOLS: Final = frozenset(
    " ".join(
        (*COMPILERS, _COMPILER_TOOLS, _BINUTILS, _COREUTILS, _SHELL_AND_TEXT, _ARCHIVES, _BUILDING, _PREFIXED)
    ).split()
)
_WHERE: Final = r"(?:^|\s)(?:/usr/bin/|/bin/)?"
_MISSED: Final = (  # as shells, make and env say it
    re.compile(rf"{_WHERE}([\w.+-]+): (?:command )?not found\b"),
    re.compile(rf"{_WHERE}['\u2018]?([\w.+-]+)['\u2019]?: No such file or directory"),
)
PREFIX_MAP: Final = "BUILD_PREFIX_MAP"  # variable: OLD=NEW, of folders that compilers write down
_COMPILER: Final = """\
#!/bin/sh
exec {program} ${{{variable}:+"-ffile-prefix-map=${variable}"}} "$@"
"""


def prepare(root: Path, declared: Sequence[str], *, is_confined: bool) -> Path:
    """Return the folder of a store with a link to each of the machine's programs that a build may use.

    It has the same path each time: configure scripts write down where they found programs. The compilers are small
    scripts in it: flags that only they add are nowhere written down.
    """
    names = HOST_TOOLS | {Path(name).name for name in declared}
    found = {name: path for name in sorted(names) if (path := find(name))}
    texts = {name: "" if is_confined and is_whole(path) else _link(path, is_confined) for name, path in found.items()}
    compilers = {name: _named_link(found[name], is_confined) for name in COMPILERS if name in found}
    scripts = {
        name: _COMPILER.format(program=shlex.quote(program), variable=PREFIX_MAP) for name, program in compilers.items()
    }
    digest = hashlib.sha256(json.dumps([texts, scripts]).encode()).hexdigest()
    folder = root / ".tools" / digest[:32]
    if not folder.is_dir():
        _fill(folder, texts, scripts)
    return folder


def find(name: str) -> Path | None:
    """Return where the machine has a program, in the folders where builds look; None when it has none."""
    paths = (folder / name for folder in HOST_FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK) and path.is_file()), None)


def undeclared(lines: Iterable[str], folder: Path) -> list[str]:
    """Return the programs that lines of a log say were not found, that this machine has and ``folder`` hasn't."""
    shown = {path.name for path in folder.iterdir()}
    names = [match[1] for line in lines for pattern in _MISSED if (match := pattern.search(line))]
    return [name for name in dict.fromkeys(names) if find(name) and name not in shown]


def is_whole(path: Path) -> bool:
    """Whether a program is shown itself, and not by a link: it may look for what it consists of from where it is."""
    return path.name not in HOST_TOOLS and path.resolve().parent in HOST_FOLDERS


def _link(path: Path, is_confined: bool) -> str:
    real = path.resolve()
    return str(real_programs(real.parent) / real.name if is_confined and real.parent in HOST_FOLDERS else real)


def _named_link(path: Path, is_confined: bool) -> str:
    """Return the same under the program's own name, which a compiler tells; one of alternatives has another."""
    if path.is_symlink() and path.readlink().is_absolute():
        return _link(path, is_confined)
    return str(real_programs(path.parent) / path.name if is_confined else path)


def _fill(folder: Path, texts: Mapping[str, str], scripts: Mapping[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".*-*"):  # by a build that was killed
        if not Path("/proc", left.name[1:].partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{os.getpid()}-"))
    try:
        for name, text in texts.items():
            if name in scripts or not text:
                (new / name).write_text(scripts.get(name, ""))
                (new / name).chmod(0o755)
            else:
                (new / name).symlink_to(text)
        new.chmod(0o755)
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another build was faster
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
