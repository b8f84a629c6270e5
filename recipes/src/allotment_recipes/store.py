# SPDX-License-Identifier: Apache-2.0
"""Where a built part goes: ``<store root>/<name>-<version>-<hash>``, the hash being that of all its inputs."""

import functools
import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.codec import canonical
from allotment.errors import AllotmentError

# Bytes: a store's root is padded to it, so that built bytes can move between roots. A kernel (5.1 or later) reads 255
# bytes of a script's first line: besides this root, "#!", a hash and "/bin/python3.13" 62 are left for
# "/<name>-<version>-". And the padding is one name, of which some file systems take no more than 143 bytes.
ROOT_LENGTH: Final = 144
HASH_DIGITS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._+]*")


def padded_root(folder: Path) -> Path:
    """Return the store's root below ``folder``: a path of exactly ``ROOT_LENGTH`` bytes, links resolved."""
    place = folder.resolve()
    if re.search(r"[\s:]", str(place)):  # make and the loader take them for the end of a path
        raise AllotmentError(f"the store's folder {place} has a space or a colon in its path", "Choose another folder")
    size = len(str(place).encode())
    missing = ROOT_LENGTH - size - 1
    if missing < 1:
        raise AllotmentError(
            f"the store's folder {place} has a path of {size} bytes, and no more than {ROOT_LENGTH - 2} are possible",
            "Choose a folder with a shorter path",
        )
    return place / ("_" * missing)


def part_path(root: Path, name: str, version: str, digest: str) -> Path:
    """Return the folder of a built part under a store's root."""
    for word in (name, version):
        if not _NAME.fullmatch(word):
            raise AllotmentError(
                f"{word!r} can't be part of a folder's name", "Use letters, digits, '-', '.', '_', '+'"
            )
    return root / f"{name}-{version}-{digest[:HASH_DIGITS]}"


@functools.cache
def platform_name() -> str:
    """Return what built parts depend on: such as ``linux-x86_64-glibc2.36-py3.11``."""
    library, version = platform.libc_ver()
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.platform}-{platform.machine()}-{library or 'libc'}{version}-{python}"


def document_hash(document: Mapping[str, Any]) -> str:
    """Return the hash of what ``part_document`` returned."""
    return hashlib.sha256(canonical(document)).hexdigest()


def part_document(
    options: Mapping[str, str],
    *,
    build_version: int,
    references: Iterable[str],
    inputs: Mapping[str, str],
    roots: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that a part's hash is made of, which no folder's place changes.

    ``references`` are the hashes of the parts it refers to; ``roots`` maps absolute folders to what stands for them.
    """
    ordered = _inner_first(roots)
    return {
        "format": 1,
        "options": {key: _relocated(value, ordered) for key, value in options.items()},
        "files": dict(pair for text in (*options.values(), *inputs.values()) for pair in _files(text, roots)),
        "build_version": build_version,
        "references": list(references),
        "inputs": {key: _relocated(value, ordered) for key, value in inputs.items()},
        "platform": platform_name(),
        "root_length": ROOT_LENGTH,
    }


def relocate(text: str, roots: Mapping[str, str]) -> str:
    """Return ``text`` with each absolute folder replaced by its stand-in; inner folders first."""
    return _relocated(text, _inner_first(roots))


def _inner_first(roots: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(roots.items(), key=lambda item: len(item[0]), reverse=True)


def _relocated(text: str, roots: Iterable[tuple[str, str]]) -> str:
    for root, name in roots:
        text = text.replace(root, name)
    return text


def _files(text: str, roots: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield name and hash of each profile file that a text names, or that may be meant: its content is an input too.

    A folder stands for all its files, and what is not there, such as a pattern, for the folder that it would be in.
    """
    for root in (root for root, name in roots.items() if name == "@closure@" and root in text):
        for match in re.findall(re.escape(root) + r"(?![-\w.])(?:/[^\s'\"#;,]*)?", text):
            path = Path(os.path.normpath(match))
            while not path.exists() and path != Path(root):
                path = path.parent
            if path.is_relative_to(root):
                for file in [path] if path.is_file() else filter(Path.is_file, path.rglob("*")):
                    mode = "755" if file.stat().st_mode & 0o100 else "644"
                    yield relocate(str(file), roots), f"{mode} {hashlib.sha256(file.read_bytes()).hexdigest()}"
