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
from allotment_recipes.engine import BuildRequest
from allotment_recipes.python_programs import Programs
from allotment_recipes.store import padded_root
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
    done = subprocess.run([str(command), *arguments], capture_output=True, text=True, timeout=60, check=True)
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


def test_scripts_may_be_of_some_eggs_only(release: Any, wheel: str) -> None:
    profile = PROFILE.format(digest=wheel)
    assert release.build(profile.replace("eggs =", "script-eggs = Greeter.Kit\n    eggs =")).error == ""
    assert sorted(path.name for path in Path(*release.installed()["app"], "bin").iterdir()) == ["greet", "py", "shout"]
    assert release.build(profile.replace("eggs =", "script-eggs =\n    eggs =")).error == ""
    assert sorted(path.name for path in Path(*release.installed()["app"], "bin").iterdir()) == ["py", "shout"]


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
    assert result.error == "[app] eggs: greeter_kit==1.2 needs absent>=2. Add absent to eggs and pin it."
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


OPTIONS = """\
[buildout]
parts = app
[versions]
greeter-kit = 1.2
[hashes]
greeter-kit = sha256:{digest}
[app]
recipe = allotment.recipes:python.scripts
eggs = greeter-kit
{lines}
"""


def only_part(release: Any) -> Path:
    (part,) = (release.folder / "store").glob("app-*")
    return Path(part)


def test_scripts_may_be_renamed_or_none_be_made(release: Any, wheel: str) -> None:
    assert release.build(OPTIONS.format(digest=wheel, lines="scripts = greet=say-hello greet")).error == ""
    assert sorted(path.name for path in (only_part(release) / "bin").iterdir()) == ["greet", "say-hello"]
    assert run(only_part(release) / "bin/say-hello") == "hello\n"
    assert release.build(OPTIONS.format(digest=wheel, lines="scripts =")).error == ""
    assert list((only_part(release) / "bin").iterdir()) == []


def test_initialization_and_arguments_are_in_each_script(release: Any, wheel: str) -> None:
    lines = (
        'initialization = import builtins; builtins.twice = lambda text: text * 2\narguments = twice("ab"), end="!"\n'
    )
    lines += "entry-points = say=builtins:print\ninterpreter = py\nscripts ="
    assert release.build(OPTIONS.format(digest=wheel, lines=lines)).error == ""
    assert run(only_part(release) / "bin/say") == "abab!"
    assert run(only_part(release) / "bin/py", "-c", "print(twice('x'))") == "xx\n"


def test_a_part_with_relative_paths_can_be_moved(release: Any, wheel: str, tmp_path: Path) -> None:
    lines = "relative-paths = true\ninterpreter = py\nentry-points = shout=greeter_kit:shout"
    assert release.build(OPTIONS.format(digest=wheel, lines=lines)).error == ""
    moved = tmp_path / "moved to here"
    only_part(release).rename(moved)
    (tmp_path / "link").symlink_to(moved / "bin/shout")
    assert run(tmp_path / "link") == "HELLO\n"
    assert (
        run(moved / "bin/py", "-c", "import greeter_kit; print(greeter_kit.__file__)")
        == f"{moved}/lib/greeter_kit.py\n"
    )


def test_a_shared_part_is_in_the_store_of_all_releases(release: Any, wheel: str, short_path: Path) -> None:
    release.write("software.cfg", OPTIONS.format(digest=wheel, lines="shared = true"))
    request = BuildRequest(
        release.root, "software.cfg", short_path / "b", release.sources, 60.0, store=short_path / "s"
    )
    for _ in range(2):
        assert release.engine.build(request, short_path / "log").error == ""
    (part,) = padded_root(short_path / "s").glob("app-1.2-*")
    assert run(part / "bin/greet") == "hello\n"
    assert not part.stat().st_mode & 0o222


def test_the_part_goes_with_its_section(release: Any, wheel: str) -> None:
    assert release.build(OPTIONS.format(digest=wheel, lines="")).error == ""
    part = only_part(release)
    assert release.build("[buildout]\nparts =\n").error == ""
    assert not part.exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "initialization = import",
            "[app] initialization: is no Python: invalid syntax (initialization, line 1). Correct it.",
        ),
        ("arguments = )", "[app] arguments: is no Python: unmatched ')'"),
        ("scripts = gret", "[app] scripts: no egg has the script 'gret'. Did you mean 'greet'? Valid: greet."),
        ("scripts = greet=../x", "[app] interpreter, or scripts: '../x' is not a file's name. Write it without '/'."),
        ("scripts = greet=", "[app] interpreter, or scripts: '' is not a file's name."),
        ("interpreter = a/b", "[app] interpreter, or scripts: 'a/b' is not a file's name."),
        ("relative-paths = maybe", "[app] relative-paths: 'maybe' is neither true nor false."),
    ],
)
def test_a_wrong_option_is_named(release: Any, wheel: str, lines: str, message: str) -> None:
    assert release.build(OPTIONS.format(digest=wheel, lines=lines)).error.startswith(message)
    assert not list(release.folder.glob("store/*"))


def test_pins_are_asked_for_where_no_section_has_them(release: Any) -> None:
    profile = "[buildout]\nparts = app\n[app]\nrecipe = allotment.recipes:python.scripts\neggs = a\n[versions]\na = 1\n"
    assert (
        release.build(profile).error
        == "[app] eggs: a 1 has no hash. Add 'a = sha256:<64 hexadecimal digits>' to [hashes]."
    )


def test_a_hostile_entry_point_writes_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(AllotmentError, match=r"'\.\./\.\./x' is not a script's name"):
        Programs(tmp_path, tmp_path, []).add_entry_point("../../x", "os", "abort")
