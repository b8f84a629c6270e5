# SPDX-License-Identifier: Apache-2.0
"""``make lock``: write runtime.in from the distributions' pyproject.toml, and both locks with hashes, by uv.

The distributions are the source of truth for ranges. The tests' lock is made first and bounds the runtime's lock, so
that what the demo installs is a subset, version for version, of what the tests prove.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
DISTRIBUTIONS = ("core", "recipes", "promises", "node", "master", "testfarm")  # in the order of dependency
LEFT_OUT = {"databases", "lsp", "postgresql", "s3"}  # extras that the demo does without
HEAD = "# SPDX-License-Identifier: Apache-2.0\n"
MADE = "# Made by `make lock` from the pyproject.toml files; do not edit.\n"


def runtime_requirements(root: Path = ROOT) -> list[str]:
    """Return every third-party requirement that the distributions state, and what an editable install of them needs."""
    found: set[str] = set()
    for folder in DISTRIBUTIONS:
        data = tomllib.loads((root / folder / "pyproject.toml").read_text())
        found.update(data["build-system"]["requires"])
        found.update(data["project"]["dependencies"])
        for extra, items in data["project"].get("optional-dependencies", {}).items():
            if extra not in LEFT_OUT:
                found.update(items)
    return sorted(item for item in found if not re.match(r"allotment\b", item))


def runtime_input(root: Path = ROOT) -> str:
    """Return what runtime.in should hold."""
    return HEAD + MADE + "\n".join(runtime_requirements(root)) + "\n"


def compile_lock(uv: str, source: str, target: str, bound: str | None, upgrade: bool) -> None:
    """Write ``target`` from ``source``; what the old lock pins stays as it is unless ``upgrade``."""
    words = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--no-header"]
    words += ["--python-version", "3.11", "--prerelease", "if-necessary-or-explicit", "--output-file", target, source]
    words += ["--constraint", bound] if bound else []
    words += ["--upgrade"] if upgrade else []
    subprocess.run(words, cwd=FOLDER, check=True)
    path = FOLDER / target
    body = path.read_text().removeprefix(HEAD).removeprefix(MADE)
    path.write_text(HEAD + MADE + body)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write runtime.in, runtime.lock and tests.lock.")
    parser.add_argument("--uv", default="uv", help="the uv executable")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the ranges allow")
    options = parser.parse_args(arguments)
    (FOLDER / "runtime.in").write_text(runtime_input())
    compile_lock(options.uv, "tests.in", "tests.lock", None, options.upgrade)
    compile_lock(options.uv, "runtime.in", "runtime.lock", "tests.lock", options.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
