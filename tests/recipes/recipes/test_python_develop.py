# SPDX-License-Identifier: Apache-2.0
"""Recipe python.develop: checkouts that are written here."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import virtualenv
from tests.recipes.patience import until

from allotment.blobs import BlobStore
from allotment_recipes.engine import BuildResult

# A build backend in the checkout itself: nothing has to be installed, so tests are fast.
BACKEND = """\
import os, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    info, name = "mine-0.1.dist-info", "mine-0.1-py3-none-any.whl"
    files = {"mine.pth": os.path.join(os.getcwd(), "src") + "\\n",
             f"{info}/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 0.1\\n" + os.environ.get("MORE", ""),
             f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
             f"{info}/entry_points.txt": "[console_scripts]\\n" + open("scripts.txt").read()}
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for file, text in {**files, f"{info}/RECORD": "".join(f"{file},,\\n" for file in files)}.items():
            archive.writestr(file, text)
    return name
"""
PROJECT = '[project]\nname = "mine"\n[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'


@dataclass(frozen=True)
class Checkout:
    folder: Path
    release: Any

    def build(self, lines: str = "setup-eggs =", more: str = "") -> BuildResult:
        setup = "" if lines.startswith("setup =") else f"setup = {self.folder}\n"
        return self.release.build(
            "[buildout]\nparts = app\n[app]\nrecipe = allotment.recipes:python.scripts\neggs = ${mine:egg}\n"
            f"interpreter = py\n[mine]\nrecipe = allotment.recipes:python.develop\n{setup}{lines}\n{more}"
        )

    def run(self, program: str, *arguments: str) -> str:
        (part,) = (self.release.folder / "store").glob("app-*")
        done = subprocess.run([part / "bin" / program, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    @property
    def made(self) -> Path:
        return Path(self.release.folder / "develop-eggs/mine")


@pytest.fixture
def checkout(tmp_path: Path, release: Any) -> Checkout:
    folder = tmp_path / "a checkout"
    (folder / "src").mkdir(parents=True)
    (folder / "src/mine.py").write_text("def main():\n    print('first')\n")
    (folder / "own.py").write_text(BACKEND)
    (folder / "scripts.txt").write_text("mine = mine:main\n")
    (folder / "pyproject.toml").write_text(PROJECT)
    return Checkout(folder, release)


def test_a_change_in_the_checkout_counts_at_once(checkout: Checkout) -> None:
    assert checkout.build().error == ""
    assert checkout.run("mine") == "first\n"
    (checkout.folder / "src/mine.py").write_text("def main():\n    print('second')\n")
    assert checkout.run("mine") == "second\n"
    assert checkout.run("py", "-c", "import mine; print(mine.__file__)") == f"{checkout.folder}/src/mine.py\n"


def test_it_is_made_again_only_when_the_project_has_changed(checkout: Checkout) -> None:
    assert checkout.build().error == ""
    made = checkout.made.stat().st_ino
    (checkout.folder / "src/mine.py").write_text("def main(): ...\n")
    assert checkout.build().error == ""
    assert checkout.made.stat().st_ino == made
    (checkout.folder / "pyproject.toml").write_text(PROJECT + "# changed\n")
    assert checkout.build().error == ""
    assert checkout.made.stat().st_ino != made
    assert checkout.release.build("[buildout]\nparts =\n").error == ""
    assert not checkout.made.exists()
    assert (checkout.folder / "src/mine.py").is_file(), "the checkout itself is never removed"


def test_setup_may_name_the_file_and_location_is_the_user_s_choice(checkout: Checkout) -> None:
    lines = f"setup = {checkout.folder}/pyproject.toml\nsetup-eggs =\nlocation = var/my eggs\negg = mine"
    assert checkout.build(lines).error == ""
    assert (checkout.release.folder / "var/my eggs/lib/mine.pth").is_file()
    assert checkout.run("mine") == "first\n"


def test_the_environment_reaches_the_backend_and_requirements_are_checked(checkout: Checkout) -> None:
    result = checkout.build("setup-eggs =\nenvironment = MORE = Requires-Dist: absent")
    assert result.error == "[app] eggs: mine==0.1 needs absent. Add absent to eggs and pin it."


def test_setuptools_develops_a_distribution(checkout: Checkout) -> None:
    (wheel,) = sorted(Path(virtualenv.__file__).parent.glob("seed/wheels/embed/setuptools-*.whl"))[-1:]
    digest = BlobStore(checkout.release.sources).add(wheel)
    (checkout.folder / "pyproject.toml").unlink()
    text = "from setuptools import setup\nsetup(name='mine', version='2.0', package_dir={'': 'src'}, py_modules=['mine'], entry_points={'console_scripts': ['mine = mine:main']})\n"  # fmt: skip  # noqa: E501
    (checkout.folder / "setup.py").write_text(text)
    pins = f"[versions]\nsetuptools = {wheel.name.split('-')[1]}\n[hashes]\nsetuptools = sha256:{digest}\n"
    assert checkout.build("egg = mine", pins).error == ""
    assert checkout.run("mine") == "first\n"


def test_a_run_that_is_killed_leaves_nothing_in_the_way(
    checkout: Checkout, tmp_path: Path, kill_runs: Callable[[], None]
) -> None:
    assert checkout.build().error == ""
    begun = checkout.folder / "begun"
    (checkout.folder / "own.py").write_text("import time; open('begun', 'w').close(); time.sleep(50)\n")
    (checkout.folder / "pyproject.toml").write_text(PROJECT + "# changed\n")
    with ThreadPoolExecutor() as pool:
        built = pool.submit(checkout.build)
        until(lambda: begun.exists() or built.done())
        kill_runs()
        assert "signal 9" in built.result().error
    assert checkout.run("mine") == "first\n", "what was there before"
    (checkout.made / ".made-from").unlink()  # as when it is killed while it removes the old one for a changed section
    (checkout.folder / "own.py").write_text(BACKEND)
    assert checkout.build("setup-eggs =\nenvironment = A = 1").error == ""
    assert checkout.run("mine") == "first\n"
    assert not (checkout.release.folder / ".build/mine").exists()


def test_a_section_may_become_another_recipe_after_a_failure(checkout: Checkout) -> None:
    (checkout.folder / "own.py").write_text("")
    assert "error: own can't build an editable wheel" in checkout.build().error
    assert (checkout.release.folder / ".build/mine").is_dir()
    checkout.release.write("sources/file", "text")
    result = checkout.release.build(
        "[buildout]\nparts = mine\n[mine]\nrecipe = allotment.recipes:cmmi\nshared = false\n"
        "path = ${:_profile_base_location_}/sources\nconfigure-command = true\nmake-binary =\n"
        "post-install = cp file @@LOCATION@@/\n"
    )
    assert result.error == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "setup = /none/here\nsetup-eggs =",
            "[mine] egg: missing option, and /none/here/pyproject.toml doesn't say",
        ),
        (
            "setup = /none/here\nsetup-eggs =\negg = mine",
            "[mine] setup: /none/here has no pyproject.toml and no",
        ),
        ("egg = mine", "[mine] setup-eggs: setuptools is not pinned. Add 'setuptools = <version>' to [versions]."),
        ("setup-eggs =\nenvironment = x", "[mine] environment: 'x' is not NAME=value."),
        ("setup-eggs =\nlocation = .", "holds what this part has not made. Choose another one."),
        ("setup-eggs =\nstup = x", "[mine] stup: unknown option. Did you mean 'setup'?"),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(checkout: Checkout, lines: str, message: str) -> None:
    assert message in checkout.build(lines).error


def test_a_backend_that_fails_is_shown_with_its_reason(checkout: Checkout) -> None:
    assert checkout.build().error == ""
    (checkout.folder / "pyproject.toml").write_text(PROJECT + "# changed\n")
    (checkout.folder / "own.py").write_text("def build_editable(*_): raise ValueError('no such thing')\n")
    error = checkout.build().error
    assert error.startswith("[mine] build the editable wheel failed with exit code 1:")
    assert "  | ValueError: no such thing" in error
    (checkout.folder / "own.py").write_text("")
    assert "error: own can't build an editable wheel" in checkout.build().error
    (checkout.folder / "own.py").write_text(BACKEND)
    assert checkout.build().error == ""
    assert checkout.run("mine") == "first\n"
