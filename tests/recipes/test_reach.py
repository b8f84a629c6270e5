# SPDX-License-Identifier: Apache-2.0
"""What a release can read, told without reading it: never less than its closure."""

import io
import re
import subprocess
import time
from pathlib import Path

import pytest
import zc.buildout.configparser
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment_recipes import reach
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import closure_files
from allotment_recipes.reach import Links, Reached, Tree, links

ROOT = Path(__file__).parents[2]


def reached(files: dict[str, str], profile: str = "software/a/software.cfg") -> Reached:
    """What ``profile`` reaches among files by path and text; a text that begins with ``->`` is a symbolic link."""
    tree = Tree({path: "120000 x" if text.startswith("->") else f"100644 {text}" for path, text in files.items()})
    return reach.reach(profile, tree, lambda path: links(files[path]))


def test_what_is_extended_is_reached_with_its_folder_and_nothing_else() -> None:
    found = reached(
        {
            "software/a/software.cfg": "[buildout]\nextends =\n  ../../components/nginx/buildout.cfg\n",
            "software/a/test/test_a.py": "",
            "components/nginx/buildout.cfg": "[buildout]\nextends = ../pcre2/buildout.cfg ../zlib/buildout.cfg\n",
            "components/nginx/fix.patch": "",
            "components/nginx/test/test_nginx.py": "a component's tests are no part of a release",
            "components/pcre2/buildout.cfg": "[pcre2]\n",
            "components/zlib/buildout.cfg": "[zlib]\n",
            "components/redis/buildout.cfg": "[redis]\n",
            "software/b/software.cfg": "[buildout]\n",
            "software/a-b/software.cfg": "[buildout]\n",
            "docs/index.md": "",
        }
    )
    assert list(found.files) == [
        "components/nginx/buildout.cfg",
        "components/nginx/fix.patch",
        "components/pcre2/buildout.cfg",
        "components/zlib/buildout.cfg",
        "software/a/software.cfg",
        "software/a/test/test_a.py",
    ]


def test_files_that_are_named_elsewhere_are_reached() -> None:
    found = reached(
        {
            "software/a/software.cfg": "[buildout]\nextends = ../common.cfg\n[x]\n"
            "url = ${:_profile_base_location_}/../../shared/x.patch\n"
            "all = ${nginx:_profile_base_location_}/../../more/${:name}.patch\n",
            "software/common.cfg": "[y]\nurl = ${:_profile_base_location_}/common.txt\n",
            "software/common.txt": "",
            "software/b/software.cfg": "",
            "shared/x.patch": "",
            "shared/y.patch": "",
            "more/one.patch": "",
            "more/two.patch": "",
        }
    )
    assert set(found.files) == {
        "software/a/software.cfg",
        "software/common.cfg",
        "software/common.txt",
        "shared/x.patch",
        "more/one.patch",
        "more/two.patch",
    }


@pytest.mark.parametrize(
    "options",
    ["dir = ../../shared\n", "dir =\n  ../../shared\n", "dir = ${y:up}\n[y]\nup = ${:more}/shared\nmore = ../..\n"],
    ids=["plain", "line", "by others"],
)
def test_a_variable_that_leads_to_another_folder_is_said(options: str) -> None:
    files = {
        "software/a/software.cfg": f"[buildout]\n[x]\nurl = ${{:_profile_base_location_}}/${{:dir}}/x.patch\n{options}",
        "shared/x.patch": "",
    }
    assert re.search("names files by (dir|more) = ../..(/shared)?, which leads", reached(files).problem)


def test_a_variable_that_stays_in_its_folder_is_no_problem() -> None:
    text = "[x]\nurl = ${:_profile_base_location_}/${:name}.patch\nname = one\nrun = cd .. && ${:name}\nup = ../x\n"
    assert not reached({"software/a/software.cfg": text, "software/a/one.patch": ""}).problem


def test_a_profile_that_is_extended_with_a_checksum_is_reached() -> None:
    found = reached(
        {
            "software/a/software.cfg": f"[buildout]\nextends = ../../b/b.cfg#sha256={'0' * 64} ../../c/c.cfg#md5=0",
            "b/b.cfg": "[buildout]\nextends = ../d/d.cfg",
            "c/c.cfg": "",
            "d/d.cfg": "",
        }
    )
    assert set(found.files) == {"software/a/software.cfg", "b/b.cfg", "c/c.cfg", "d/d.cfg"}


def test_pytest_s_files_above_a_release_are_reached() -> None:
    files = {"software/a/software.cfg": "", "software/conftest.py": "", "conftest.py": "", "other/conftest.py": ""}
    assert set(reached(files).files) == {"software/a/software.cfg", "software/conftest.py", "conftest.py"}


def test_a_profile_that_is_not_there_counts_as_such() -> None:
    assert reached({"software/a/software.cfg": "[buildout]\nextends = none.cfg"}).files["software/a/none.cfg"] == (
        "missing"
    )


@pytest.mark.parametrize(
    ("extends", "problem"),
    [
        ("/etc/x.cfg", "software/a/software.cfg extends /etc/x.cfg, which is outside the repository"),
        ("../../../x.cfg", "software/a/software.cfg extends ../../../x.cfg, which is outside the repository"),
        ("https://x/y.cfg", "software/a/software.cfg extends https://x/y.cfg, which has no checksum"),
        ("../../stack/x.cfg", "stack is a symbolic link"),
    ],
)
def test_what_can_t_be_told_is_said(extends: str, problem: str) -> None:
    files = {"software/a/software.cfg": f"[buildout]\nextends = {extends}", "stack": "-> elsewhere"}
    assert reached(files) == Reached({}, problem)


def test_a_pinned_url_is_pinned_by_the_text_that_names_it() -> None:
    files = {"software/a/software.cfg": f"[buildout]\nextends = https://x/y.cfg#sha256={'0' * 64}"}
    assert list(reached(files).files) == ["software/a/software.cfg"]


def test_profiles_that_extend_each_other_end() -> None:
    files = {
        "software/a/software.cfg": "[buildout]\nextends = ../../b/b.cfg",
        "b/b.cfg": "[buildout]\nextends = ../software/a/software.cfg",
    }
    assert set(reached(files).files) == set(files)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    "[buildout]",
                    "[buildout : True]",
                    "[other]",
                    "extends = a.cfg",
                    "extends =",
                    "extends += b.cfg c.cfg",
                ),
                *("x = \u2028[other]", "x = \x1c[other]", "x = \x85#", "extends\x0c= j.cfg"),
                *("  d.cfg", "\te.cfg", "# f.cfg", "  # g.cfg", "", "parts = x", "  y", "extends=h.cfg", "; i.cfg"),
            ]
        )
    )
)
def test_no_extends_that_buildout_sees_is_overlooked(lines: list[str]) -> None:
    text = "\n".join(["[buildout]", *lines])
    try:
        read = zc.buildout.configparser.parse(io.StringIO(text), "x", dict)
    except zc.buildout.configparser.Error:
        return
    options = read.get("buildout", {})
    seen = {name for key in ("extends", "extends +") for name in options.get(key, "").split()}
    assert seen <= set(links(text).extends)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "software").glob("*/software.cfg")))
def test_the_closure_of_each_release_is_reached(name: str, tmp_path: Path, engine: BuildEngine) -> None:
    profile = ROOT / "software" / name / "software.cfg"
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = Tree({path: "100644 x" for path in listed.split("\0") if path})
    if profile.relative_to(ROOT).as_posix() not in tree.entries:
        pytest.skip("needs a committed profile")
    closure = closure_files(profile, engine, tmp_path / "build", tmp_path / "sources", tmp_path / "log")
    found = reach.reach(str(profile.relative_to(ROOT)), tree, lambda path: links((ROOT / path).read_text()))
    assert {str(path.relative_to(ROOT)) for path in closure} <= set(found.files)


def test_a_large_repository_is_decided_in_time() -> None:
    """80 releases over 400 components; most is spent once, not for each release."""
    files = {f"components/c{n}/file{m}": "" for n in range(400) for m in range(4)}
    known = {}
    for number in range(400):
        below = " ".join(f"../c{number + step}/buildout.cfg" for step in (1, 7, 31) if number + step < 400)
        known[f"components/c{number}/buildout.cfg"] = Links(tuple(below.split()), ("fix.patch",))
    for number in range(80):
        known[f"software/s{number}/software.cfg"] = Links((f"../../components/c{number}/buildout.cfg",), ("x.in",))
    tree = Tree(dict.fromkeys({**files, **known}, "100644 x"))
    started = time.process_time()
    for number in range(80):
        assert len(reach.reach(f"software/s{number}/software.cfg", tree, known.__getitem__).files) > 1500
    assert time.process_time() - started < 2.0  # 0.3 s on a machine with nothing else to do


_PATHS = (
    "software/a/software.cfg",
    "software/a/instance.cfg",
    "software/a/test/test_a.py",
    "software/conftest.py",
    "software/common.cfg",
    "conftest.py",
    "components/x/buildout.cfg",
    "components/x/fix.patch",
    "components/x/test/test_x.py",
    "components/y/buildout.cfg",
    "components/y",
    "components",
    "shared/more/x.patch",
    "shared/more",
    "docs/index.md",
)
_LINES = (
    "[buildout]\nextends = ../../components/x/buildout.cfg\n",
    "[buildout]\nextends = ../common.cfg\n",
    "[buildout]\nextends = ../y/buildout.cfg\n",
    "[buildout]\nextends = a/software.cfg\n",
    "[x]\nurl = ${:_profile_base_location_}/../../shared/more/x.patch\n",
    "[x]\nurl = ${:_profile_base_location_}/../../shared/${:name}.patch\n",
    "[x]\nurl = ${:_profile_base_location_}/../docs/index.md\n",
    "-> elsewhere",
)
_TREES = st.dictionaries(st.sampled_from(_PATHS), st.sampled_from(_LINES)).map(
    lambda files: {path: text for path, text in files.items() if not any(o.startswith(f"{path}/") for o in files)}
)


@settings(max_examples=500, deadline=None)
@given(_TREES, _TREES)
def test_what_still_holds_is_what_would_be_found(old: dict[str, str], new: dict[str, str]) -> None:
    """Profiles and all else may come, go, change or become symbolic links; paths that are no profiles count as well."""
    before = {"software/a/software.cfg": _LINES[0], **old}
    after = {**before, **{path: text for path, text in new.items() if (len(path) + len(text)) % 3 == 0}}
    trees = [
        Tree({path: "120000 x" if text.startswith("->") else f"100644 {text}" for path, text in files.items()})
        for files in (before, after)
    ]
    profile = "software/a/software.cfg"
    first, second = (
        reach.reach(profile, tree, lambda path, files=files: links(files[path]))  # type: ignore[misc]
        for tree, files in zip(trees, (before, after), strict=True)
    )
    if first.holds(trees[1].changed(trees[0])):
        assert (first.groups, first.problem) == (second.groups, second.problem)


def test_a_change_elsewhere_changes_nothing() -> None:
    found = reached({"software/a/software.cfg": "[buildout]\nextends = ../../components/x/buildout.cfg\n"})
    assert found.holds(["components/y/buildout.cfg", "software/b/software.cfg", "docs/conftest.py"])
    for path in ("components/x/buildout.cfg", "components/x/new", "software/a/new", "conftest.py", "components"):
        assert not found.holds(["docs/index.md", path])
    assert not Reached({}, "it can't be told").holds([])
