# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Pinned wheels: made here, put into the source cache by hash, installed offline."""

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.wheels import Pin, pin, wheel_name

PROFILE = """\
    [buildout]
    parts = app
    [versions]
    Greeter.Kit = 1.2
    [hashes]
    greeter-kit = sha256:{digest}
    [app]
    recipe = allotment.recipes:python.scripts
    eggs = greeter_kit
    interpreter = py
    entry-points = shout=greeter_kit:shout
    """


def make_wheel(
    folder: Path, name: str = "greeter_kit", version: str = "1.2", requires: str = "", tag: str = "py3-none-any"
) -> Path:
    """Write a wheel by hand: nothing is built, so nothing is downloaded to build it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    print('hello')\n\ndef shout():\n    print('HELLO')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\ngreet = {name}:main\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


@pytest.fixture
def wheel(tmp_path: Path, release: Any) -> str:
    """The wheel's sha256; it is in the source cache."""
    return BlobStore(release.sources).add(make_wheel(tmp_path / "wheels"))


def run(command: str | Path, *arguments: str) -> str:
    done = subprocess.run([str(command), *arguments], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


def test_scripts_and_interpreter_see_the_wheel_and_nothing_else(release: Any, wheel: str) -> None:
    assert release.build(PROFILE.format(digest=wheel)).error == ""
    (part,) = (release.folder / "store").iterdir()
    assert part.name.startswith("app-1.2-")
    assert run(part / "bin/greet") == "hello\n"
    assert run(part / "bin/shout") == "HELLO\n"
    assert run(part / "bin/py", "-c", "import greeter_kit, sys; print(sys.argv)", "x") == "['-c', 'x']\n"
    assert run(part / "bin/py", "-m", "greeter_kit") == ""
    looking = "import importlib.util as u; print(u.find_spec('allotment'), u.find_spec('jinja2'), u.find_spec('pip'))"
    assert run(part / "bin/py", "-c", looking) == "None None None\n"


def test_the_part_moves_with_the_pin(release: Any, wheel: str, tmp_path: Path) -> None:
    first = release.build(PROFILE.format(digest=wheel)).parts
    other = BlobStore(release.sources).add(make_wheel(tmp_path / "two", requires="Summary: repacked\n"))
    second = release.build(PROFILE.format(digest=other))
    assert second.error == ""
    assert first != second.parts


def test_nothing_of_the_machine_is_in_what_pip_installed(release: Any, wheel: str) -> None:
    release.build(PROFILE.format(digest=wheel))
    assert list((release.folder / "store").glob("*/lib/*.dist-info/direct_url.json")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Greeter.Kit = 1.2", ""), "[app] eggs: greeter_kit is not pinned. Add 'greeter_kit = <version>' to [versions]."),
        (("Greeter.Kit = 1.2", "greeter-kit = >=1.2"), "[app] eggs: greeter_kit is not pinned: '>=1.2' is no exact version."),
        (("greeter-kit = sha256:", "other = "), "[app] eggs: greeter_kit 1.2 has no hash. Add 'greeter_kit = sha256:<64"),
        (("sha256:", "md5:"), "[app] eggs: greeter_kit 1.2 has the wrong hash 'md5:"),
        (("shout=greeter_kit:shout", "shout"), "[app] entry-points: 'shout' is not name=module:function."),
        (("interpreter = py", "scripts = geret"), "[app] scripts: no egg has the script 'geret'. Did you mean 'greet'?"),
        (("interpreter = py", "interpeter = py"), "[app] interpeter: unknown option. Did you mean 'interpreter'?"),
        (("Kit = 1.2", "Kit = 1.3"), "greeter_kit==1.3: the wheel is of 'greeter_kit-1.2'. Correct the hash or the version."),
    ],
)  # fmt: skip
def test_what_is_not_pinned_is_refused(release: Any, wheel: str, change: tuple[str, str], message: str) -> None:
    result = release.build(PROFILE.format(digest=wheel).replace(*change))
    assert result.error.startswith(message)
    assert list(release.folder.glob("store/*")) == []


def test_a_wheel_that_nobody_has_lists_each_reason(release: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "0" * 64
    result = release.build(PROFILE.format(digest=digest).replace("Kit = 1.2", "Kit = 999.999"))
    assert result.error.startswith(
        f"greeter_kit==999.999 (sha256 {digest}) can't be had:\n  cache: it is not there\n  python index: pip: "
    )


def test_a_distribution_that_is_needed_must_be_pinned_too(release: Any, tmp_path: Path) -> None:
    digest = BlobStore(release.sources).add(make_wheel(tmp_path / "w", requires="Requires-Dist: absent>=2\n"))
    result = release.build(PROFILE.format(digest=digest))
    assert result.error == "greeter_kit==1.2 needs absent>=2. Add absent to eggs and pin it."
    digest = BlobStore(release.sources).add(
        make_wheel(
            tmp_path / "v", requires="Requires-Dist: absent; python_version < '3'\nRequires-Dist: more; extra == 'x'\n"
        )
    )
    assert release.build(PROFILE.format(digest=digest)).error == ""


def test_a_wheel_of_another_platform_is_named(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, tag="cp27-cp27mu-win32")
    with pytest.raises(
        AllotmentError, match=r"greeter_kit==1.2: the wheel is for cp27-cp27mu-win32\. Add the hash of this"
    ):
        wheel_name(path, Pin("greeter_kit", "1.2", ()))


def test_bytes_that_are_no_wheel_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(b"not a zip")
    with pytest.raises(AllotmentError, match=r"greeter_kit==1\.2: the bytes are no wheel"):
        wheel_name(path, Pin("greeter_kit", "1.2", ()))


def test_a_pin_may_have_a_hash_for_each_platform() -> None:
    hashes = {"A": f"sha256:{'1' * 64}\nsha256:{'2' * 64}"}
    assert pin("a", {"A": "1"}, hashes) == Pin("a", "1", ("1" * 64, "2" * 64))
