# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (conditions and their results stand side by side, as a table)
"""What zc.buildout makes of a profile, and what we do: a test for each line of docs/explanation/buildout-variant.md."""

import hashlib
import io
import os
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zc.buildout
import zc.buildout.buildout as upstream
import zc.buildout.configparser
import zc.buildout.easy_install

from allotment.errors import AllotmentError
from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.egg_lock import plain_version
from allotment_recipes.journal import Journal
from allotment_recipes.runs.settings import run_settings
from allotment_recipes.testing import FakeSources, Partition, Release
from allotment_recipes.tokens import Tokens

QUIET = {"newest": "false", "offline": "true", "log-level": "ERROR"}
Files = Mapping[str, str]


def in_a_fork(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a process of its own: a run changes the folder and more."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with os.fdopen(writing, "wb") as file:
                pickle.dump(work(), file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        found = pickle.loads(file.read())
    os.waitpid(pid, 0)
    return found


def value(made: Callable[[Path], Any], path: Path, option: str) -> str:
    """Return ``section:option`` of a profile, or ``error: `` and what was said."""
    section, _, name = option.partition(":")

    def work() -> str:
        try:
            return str(made(path)[section].get(name))
        except (AllotmentError, zc.buildout.UserError, zc.buildout.configparser.Error, ValueError, OSError) as error:
            return f"error: {error}"

    return str(in_a_fork(work))


def ours(path: Path) -> Any:
    run = RunContext(path.parent, Journal(immediate=True), path.parent / "blobs", Tokens(b""))
    return Buildout(path, run, {**QUIET, "eggs-directory": "eggs", "eggs-directory-version": ""})


def theirs(path: Path) -> Any:
    options = [("buildout", "directory", str(path.parent)), *(("buildout", *item) for item in QUIET.items())]
    return upstream.Buildout(str(path), options, use_user_defaults=False)


@pytest.fixture
def both(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Return an option of ``profile`` beside other files: as zc.buildout has it, and as we do."""

    def read(profile: str, option: str, **others: str) -> tuple[str, str]:
        for name, text in others.items():
            (tmp_path / f"{name}.cfg").write_text(text)
        path = tmp_path / "software.cfg"
        path.write_text(profile)
        return value(theirs, path, option), value(ours, path, option)

    return read


Both = Callable[..., tuple[str, str]]


def test_profile_base_location(both: Both, tmp_path: Path) -> None:
    there, here = both("[a]\nb = ${:_profile_base_location_}/c\n", "a:b")
    assert "Referenced option does not exist" in there
    assert here == f"{tmp_path}/c"


def test_typed_values(both: Both, partition: Partition) -> None:
    there, here = both('[a]\nb = !py![1, "x"]\nc = !json!{"d": [true]}\n', "a:b")
    assert there == here == '!py![1, "x"]', "as a text it is what is written"
    partition.run_twice(
        """\
        [buildout]
        parts = one
        [a]
        b = !py![1, "x"]
        c = !json!{"d": [true]}
        [one]
        recipe = allotment.recipes:template.jinja2
        inline = {{ a["b"][1] }} {{ c["d"][0] }}
        output = ${buildout:directory}/one
        context =
          section a a
          key c a:c
        """
    )
    assert (partition.folder / "one").read_text() == "x True"


def test_values_that_recipes_set(tmp_path: Path) -> None:
    path = tmp_path / "software.cfg"
    path.write_text("[a]\nb = 1\n[c]\nd = ${a:e}\n")

    def set_and_read(made: Callable[[Path], Any]) -> Any:
        section = made(path)["a"]
        try:
            section["e"] = [1, {"f": None}]
        except TypeError as error:
            return str(error)
        return section.value("e"), section.buildout["c"].value("d"), section["e"]

    assert "Option values must be strings" in in_a_fork(lambda: set_and_read(theirs))
    value = [1, {"f": None}]
    assert in_a_fork(lambda: set_and_read(ours)) == (value, value, "!py![1, {'f': None}]")


def test_no_value_runs_code(both: Both, partition: Partition, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    profile = f"[a]\nx = 1\n[b:open({str(mark)!r}, 'w')]\nx = 2\n"
    assert both(profile, "a:x")[0] == "1"
    assert mark.exists(), "zc.buildout evaluates any expression"
    mark.unlink()
    assert "calls open, which conditions can't" in value(ours, tmp_path / "software.cfg", "a:x")
    text = f"!py!open({str(mark)!r}, 'w')"
    result = partition.run(
        "[buildout]\nparts = one\n[a]\nb = " + text + "\n[one]\nrecipe = allotment.recipes:template.jinja2\n"
        "inline = {{ a['b'] }}\noutput = one\ncontext = section a a\n"
    )
    assert "is not a Python literal" in result.error
    assert not mark.exists()


def test_signature_in_a_constructor(both: Both, partition: Partition) -> None:
    there, _ = both("[one]\nrecipe = none\n[a]\nb = ${one:__buildout_signature__}\n", "a:b")
    assert there.startswith("error: ")
    partition.run_twice(
        """\
        [buildout]
        parts = two
        [one]
        recipe = allotment.recipes:mkdirectory
        etc = ${buildout:directory}/etc
        [two]
        recipe = allotment.recipes:template.jinja2
        inline = ${one:__buildout_signature__} ${:__buildout_signature__}
        output = ${buildout:directory}/two
        """
    )
    first, second = (partition.folder / "two").read_text().split(" ", 1)
    assert "mkdirectory" in first
    assert "template" in second


def test_signature_in_the_constructor_itself(tmp_path: Path) -> None:
    path = tmp_path / "software.cfg"
    path.write_text("[one]\nrecipe = slapos.recipe.build\ninit = options['told'] = options['__buildout_signature__']\n")
    assert "allotment_recipes.recipes.script-" in value(ours, path, "one:told")


def test_what_a_profile_adds_to_a_macros_value(both: Both) -> None:
    base = "[macro]\nk = 1\n[a]\n<= macro\n"
    assert both("[buildout]\nextends = base.cfg\n[a]\nk += 2\n", "a:k", base=base) == ("\n2", "1\n2")
    profile = "[buildout]\nextends = middle.cfg\n[a]\nk -= 1\nk += 3\n"
    middle = "[buildout]\nextends = base.cfg\n[a]\nk += 2\n"
    assert both(profile, "a:k", base=base, middle=middle)[1] == "2\n3"
    assert both("[buildout]\nextends = middle.cfg\n[a]\nk = 9\n", "a:k", base=base, middle=middle)[1] == "9"


def test_diamonds(both: Both) -> None:
    base = "[a]\nk = 0\nk += base\n"
    left, right = (f"[buildout]\nextends = base.cfg\n[a]\nk += {side}\n" for side in ("left", "right"))
    there, here = both("[buildout]\nextends = left.cfg right.cfg\n", "a:k", base=base, left=left, right=right)
    assert there == "0\nbase\nright", "what the left one adds is lost, as the base is read again above it"
    assert here == "0\nbase\nleft\nright"


def test_checksums_of_local_profiles(both: Both) -> None:
    base = "[a]\nb = 1\n"
    for kind in ("sha256", "md5"):
        digest = hashlib.new(kind, base.encode()).hexdigest()
        there, here = both(f"[buildout]\nextends = base.cfg#{kind}={digest}\n", "a:b", base=base)
        assert there.startswith("error: ")
        assert here == "1"
        _, here = both(f"[buildout]\nextends = base.cfg#{kind}=00\n", "a:b", base=base)
        assert f"base.cfg has another {kind}: {digest}. Write #{kind}={digest}." in here


def test_profiles_behind_a_url(release: Release, sources: FakeSources) -> None:
    served = sources.serve("stack.cfg", b"[place]\nname = stack\n")
    text = """\
        [buildout]
        extends = {url}
        parts = one
        [one]
        recipe = allotment.recipes:template.jinja2
        inline = ${{place:name}}
        output = ${{buildout:directory}}/one
        """
    result = release.build(text.format(url=f"{served.url}#sha256={served.sha256}"))
    assert result.error == ""
    assert (release.folder / "one").read_text() == "stack"
    assert "stack.cfg" in release.build(text.format(url=f"{served.url}#sha256={'0' * 64}")).error
    assert "allot lock" in release.build(text.format(url=served.url)).error
    release.write_profile(text.format(url=f"{served.url}#md5={served.md5}"))
    release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)
    assert release.build().error == ""


def test_references_in_extends(both: Both) -> None:
    profile = "[buildout]\nextends = stack.cfg\n[kind]\nname = b\n"
    stack = "[buildout]\nextends = ${:_profile_base_location_}/${kind:name}.cfg\n[kind]\nname = a\n"
    there, here = both(profile, "x:y", stack=stack, a="[x]\ny = a\n", b="[x]\ny = b\n")
    assert there.startswith("error: ")
    assert here == "b", "what extends counts more than what is extended"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("python3", True), ("python2", False), ("linux", True), ("not windows", True), ("cpython and bits64", sys.maxsize > 2**32),
        ("sys.version_info < (3,10)", False), ("sys.version_info >= (3, 10)", True), ("sys.maxsize > 2**32", sys.maxsize > 2**32),
        ("platform.machine() == 'no-such'", False), ("os.uname()[0] == 'Linux'", True), ("'inux' in platform.system()", True),
        ('python_version >= "3.11"', True), ('platform_system == "Windows"', False), (r"re.match('3\\.', sys.version)", True),
        ("os.environ.get('NO_SUCH_VARIABLE', '') == 'x'", False), ("sys.platform.startswith('linux')", True),
    ],
)  # fmt: skip
def test_conditions(both: Both, condition: str, holds: bool) -> None:
    there, here = both(f"[a]\nk = no\n[a:{condition}]\nk = yes\n", "a:k")
    assert there == here == ("yes" if holds else "no")


def test_a_condition_of_the_first_section(both: Both) -> None:
    first = "[a:python2]\nk = 1\n"
    with pytest.raises(zc.buildout.configparser.Error, match="no section headers"):
        zc.buildout.configparser.parse(io.StringIO(first), "first.cfg", upstream._default_globals)
    assert both("[buildout]\nextends = first.cfg\n[b]\nk = 2\n", "b:k", first=first)[1] == "2"
    assert both("[buildout]\nextends = first.cfg\n[b]\nk = 2\n", "b:k", first="[a:python2]\nk =\n  1\n")[1] == "2"


def test_a_condition_behind_an_empty_section(both: Both) -> None:
    there, here = both("[buildout]\n[c]\n[a:python2]\nk =\n  1\n[b]\nk = 2\n", "b:k")
    assert there.startswith("error: ")
    assert here == "2"


def test_suffixes_of_versions(both: Both) -> None:
    there, here = both("[versions]\nlxml = 1.0:whl\npysaml2 = 7.0+SlapOSPatched001\n", "versions:lxml")
    assert there == here == "1.0:whl"
    wanted = upstream.pkg_resources.Requirement.parse("lxml")
    with pytest.raises(ValueError, match=r"1\.0:whl"):
        zc.buildout.easy_install._constrained_requirement("1.0:whl", wanted)
    assert plain_version("1.0:whl") == "1.0"
    assert plain_version("7.0+SlapOSPatched001") == "7.0"


def test_pins_with_hashes(release: Release) -> None:
    sections = """\
        [buildout]
        parts = one
        [versions]
        waitress = 3.0.2
        [one]
        recipe = allotment.recipes:python.scripts
        eggs = waitress
        """
    assert "[hashes]" in release.build(sections).error
    assert "[versions]" in release.build(sections.replace("waitress = 3.0.2", "")).error


def test_stores_that_a_profile_names(release: Release, tmp_path: Path) -> None:
    release.build(f"[buildout]\nparts =\nshared-part-list =\n  {tmp_path}/shared\n  /opt/shared\n")
    said = release.log.read_text()
    for folder in (f"{tmp_path}/shared", "/opt/shared"):
        assert f"[buildout] shared-part-list: {folder} has no effect here" in said


def test_caches_that_a_profile_names(release: Release) -> None:
    address = "[networkcache]\ndownload-cache-url = http://localhost:1/cache\n"
    release.build(f"[buildout]\nparts =\nnetworkcache-section = networkcache\n{address}")
    said = release.log.read_text()
    assert said.count("[buildout] networkcache-section: [networkcache] has no effect here") == 1


def test_the_name_of_another_section(both: Both) -> None:
    profile = "[a]\nname = ${b:_buildout_section_name_}\n[b]\nx = ${:_buildout_section_name_}\n"
    assert both(profile, "a:name") == ("a", "b")


def test_escaped_references(both: Both) -> None:
    assert both("[a]\nb = $${c:d} ${:e}\ne = 1\n", "a:b") == ("$${c:d} 1", "$${c:d} 1")


def test_dependencies_without_an_option(partition: Partition) -> None:
    partition.run_twice(
        """\
        [buildout]
        parts = second
        [first]
        recipe = allotment.recipes:mkdirectory
        etc = ${buildout:directory}/etc
        [second]
        => first
        recipe = allotment.recipes:mkdirectory
        var = ${buildout:directory}/var
        """
    )
    assert (partition.folder / "etc").is_dir()


def test_optional_profiles(both: Both) -> None:
    there, here = both("[buildout]\noptional-extends = more.cfg\n[a]\nb = 1\n", "a:b", more="[a]\nb = 2\n")
    assert there == "1", "it is looked for in the folder of the process"
    assert here == "1", "what extends counts more"
    profile = "[buildout]\noptional-extends = more.cfg none.cfg\n[a]\nb = 1\n"
    assert both(profile, "a:c", more="[a]\nc = 2\n") == ("None", "2")


def test_eggs_are_not_picked(both: Both) -> None:
    there, here = both("[a]\nb = 1\n", "buildout:allow-picked-versions")
    assert there == "true"
    assert here == "true", "of a run; a build that is none of a developer sets it to false"
    assert run_settings()["allow-picked-versions"] == "false"
    assert run_settings(development=True)["allow-picked-versions"] == "true"


def test_extensions(release: Release) -> None:
    assert release.build("[buildout]\nparts =\nextensions = slapos.rebootstrap\n").error == ""
    assert (
        "[buildout] extensions: none-such can't be loaded"
        in release.build("[buildout]\nparts =\nextensions = none-such\n").error
    )


def test_circles_of_references(both: Both) -> None:
    there, here = both("[a]\nb = ${c:d}\n[c]\nd = ${a:b}\n", "a:b")
    assert "Circular reference in substitutions" in there
    assert "refers to what refers back to it: ${c:d} -> ${a:b} -> ${c:d}" in here


def test_each_line_of_the_page_names_a_test_that_is_here() -> None:
    page = Path(__file__).parents[3] / "docs/explanation/buildout-variant.md"
    tables = re.findall(r"^\| .* \| test \|\n(?:\|.*\n)+", page.read_text(), re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()[2:]]
    assert len(rows) > 20
    named = [row.rsplit("|", 2)[1].strip().strip("`") for row in rows]
    assert [name for name in named if not callable(globals().get(name)) or not name.startswith("test_")] == []
    assert len(set(named)) == len(named)
