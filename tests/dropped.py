# SPDX-License-Identifier: Apache-2.0
"""Run tests as nobody, when root runs this: in a copy of the checkout that everyone can read, with its own virtualenv.

A node works with and without root, and most developers are not root while CI is: this proves the other half there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")


def say(text: str) -> None:
    sys.stderr.write(f"dropped: {text}\n")


def as_nobody(arguments: list[str], folder: Path, environment: dict[str, str], quiet: bool = False) -> int:
    """Run a command without any privilege and return its exit code."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--"]
    # setpriv itself still starts a program with root's rights to its file; a shell between the two does not
    shell = ["/bin/sh", "-c", 'exec "$0" "$@"']
    errors = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        [*drop, *shell, *arguments], cwd=folder, env=environment, check=False, stderr=errors
    ).returncode


def usable_python() -> str | None:
    """Return a Python that nobody can run too: one under root's home can't be."""
    check = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    variables = {"PATH": os.defpath, "HOME": "/"}
    for name in PYTHONS:
        path = os.path.realpath(name)
        if os.access(path, os.X_OK) and as_nobody([path, "-I", "-c", check], Path("/"), variables, quiet=True) == 0:
            return path
    return None


def copy_checkout(target: Path) -> None:
    """Copy what git tracks, and what it would: the checkout as it is, without what was made in it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def commit_copy(target: Path) -> None:
    """Make the copy a repository of its own with one commit: the farm tests commits only."""
    identity = ["-c", "user.name=dropped", "-c", "user.email=dropped@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "copy"]):
        subprocess.run(["git", *words], cwd=target, check=True)


def give_away(target: Path) -> None:
    """Make nobody the owner of the copy, its virtualenv apart: tests write beside themselves."""
    for path in [target, *target.rglob("*")]:
        if (target / "var") not in path.parents:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def run(tests: list[str], python: str, base: Path) -> int:
    """Copy, install and test inside ``base``."""
    base.chmod(0o755)
    copy, home, temporary = base / "allotment", base / "home", base / "t"
    copy.mkdir()
    copy_checkout(copy)
    commit_copy(copy)
    environment = subprocess.run([python, "requirements/environment.py", "tests"], cwd=copy, check=False)
    if environment.returncode != 0:
        return environment.returncode
    for folder in (home, temporary):
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
    give_away(copy)
    found = [name for name in tests if any((copy / name).rglob("test_*.py"))]
    if not found:
        say(f"no tests in {' '.join(tests)}")
        return 0
    tools = copy / "var" / "env" / "tests" / "bin"
    kept = {key: value for key, value in os.environ.items() if key.startswith(("ALLOTMENT_", "LANG", "LC_"))}
    variables = {**kept, "HOME": str(home), "TMPDIR": str(temporary), "PATH": f"{tools}:{os.defpath}"}
    command = [str(tools / "python"), "-m", "pytest", "-q", "-n", "auto", "--dist", "loadgroup", *found]
    return as_nobody(command, copy, variables)


def skipped(need: str) -> int:
    """Say what is needed; where skips are forbidden that is a failure."""
    say(f"skipped: needs {need}")
    return int(os.environ.get("ALLOTMENT_FORBID_SKIPS", "") not in ("", "0"))


def main(tests: list[str]) -> int:
    if os.geteuid() != 0:
        say("not root: every test already runs as an ordinary user")
        return 0
    if shutil.which("setpriv") is None:
        return skipped("setpriv. apt-get install util-linux")
    python = usable_python()
    if python is None:
        return skipped("a Python 3.11 that other users can run. apt-get install python3 python3-venv")
    # short, because the paths of unix sockets are: 108 bytes
    with tempfile.TemporaryDirectory(prefix="allot-", dir="/tmp") as base:
        return run(tests, python, Path(base))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests/node", "tests/recipes", "tests/e2e"]))
