# SPDX-License-Identifier: Apache-2.0
"""Build a wheel in the current folder by the build backend that its pyproject.toml names (PEP 517, PEP 660).

Run as a program, by the Python that the wheel is for, with what the backend needs in PYTHONPATH: it imports nothing of
ours, installs nothing and uses no network. ``build_backend.py wheel|editable FOLDER``; the wheel is put into FOLDER.
"""

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any


def main(kind: str, folder: str) -> None:
    """Call the hook; what the backend raises is the program's error."""
    system: dict[str, Any] = {}
    if Path("pyproject.toml").exists():
        system = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8")).get("build-system", {})
    backend = system.get("build-backend", "setuptools.build_meta:__legacy__")
    sys.path[:0] = [str(Path(path).absolute()) for path in system.get("backend-path", ())]
    module, _, attribute = backend.partition(":")
    hooks: Any = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        hooks = getattr(hooks, name)
    hook = getattr(hooks, f"build_{kind}", None)
    if hook is None:
        sys.exit(f"error: {backend} can't build an {kind} wheel")
    needed = getattr(hooks, f"get_requires_for_build_{kind}", lambda: ())()
    sys.stderr.write(f"{backend} needs: {', '.join(needed) or 'nothing more'}\n")
    hook(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
