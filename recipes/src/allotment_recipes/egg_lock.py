# SPDX-License-Identifier: Apache-2.0
"""Eggs of profiles in SlapOS's dialect: ``[versions]`` pins them, pip tells their hashes and what else they need."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.recipe_loading import canonical

Wheels: TypeAlias = dict[str, tuple[str, str]]  # canonical name -> version and sha256

_TIMEOUT: Final = 600.0  # seconds, for pip to find out what is needed
_SUFFIXES: Final = re.compile(r"(:whl|\+SlapOSPatched\d+)+$")
_EXACT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_SDIST: Final = "pkg:pypi/"


def plain_version(text: str) -> str:
    """Return a version without what SlapOS writes after it: ``:whl`` asks for a wheel, the other tells of patches."""
    return _SUFFIXES.sub("", text.strip())


def plain_name(egg: str) -> str:
    """Return the canonical name of an egg, without its extras."""
    return canonical(egg.partition("[")[0].strip())


def resolve(eggs: Iterable[str], versions: Mapping[str, str]) -> Wheels:
    """Return the wheels that pip chooses for these eggs and all they need; ``versions`` is kept to."""
    with tempfile.TemporaryDirectory(prefix="allot-eggs-") as folder:
        constraints = Path(folder, "constraints.txt")
        lines = [f"{name}=={version}\n" for name, version in versions.items() if _EXACT.fullmatch(version)]
        constraints.write_text("".join(lines))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-input"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--report", str(Path(folder, "report"))]
        command += ["--constraint", str(constraints), "--", *eggs]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, cwd=folder)
        except subprocess.TimeoutExpired:
            raise MachineError(f"pip found no wheels within {_TIMEOUT:.0f} s", "Try again") from None
        if done.returncode != 0:
            said = "\n".join([*done.stdout.splitlines()[-8:], *done.stderr.splitlines()])
            raise AllotmentError(f"pip finds no wheels: {said.strip()}")
        found = json.loads(Path(folder, "report").read_bytes())
    return {
        canonical(item["metadata"]["name"]): (item["metadata"]["version"], _hash_of(item)) for item in found["install"]
    }


def _hash_of(item: Mapping[str, Any]) -> str:
    """Return the sha256 of what pip would install; an index may have told another hash, or none."""
    hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
    if "sha256" not in hashes:
        name = f"{item['metadata']['name']} {item['metadata']['version']}"
        raise AllotmentError(f"the index tells no sha256 of {name}", "Use an index that does")
    return str(hashes["sha256"])


def sdist(egg: str, version: str) -> str:
    """Return the name under which the lock has the source archive of a distribution."""
    return f"{_SDIST}{plain_name(egg)}@{version}"


def is_sdist(url: str) -> bool:
    """Whether it is a name that :func:`sdist` gives."""
    return url.startswith(_SDIST)


def sdist_hash(url: str) -> str:
    """Return the sha256 that the Python index tells of a source archive; none of its code is run to find it."""
    from allotment_recipes.providers import python_source

    name, _, version = url.removeprefix(_SDIST).partition("@")
    for index in python_source.indexes():
        for address, sha256 in python_source.files(index, name):
            file = address.partition("#")[0].partition("?")[0].rpartition("/")[2]
            stem = re.sub(r"(\.tar\.\w+|\.tgz|\.zip)$", "", file)
            if stem != file and canonical(stem) == canonical(f"{name}-{version}") and sha256:
                return sha256
    raise AllotmentError(f"no index has a source archive of {name} {version}")
