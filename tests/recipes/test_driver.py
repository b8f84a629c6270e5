# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildEngine

ECHO = """\
    [buildout]
    parts = one
    [one]
    recipe = allotment.recipes:template.jinja2
    inline = {text}
    output = etc/one
    """


def test_a_run_writes_the_files_and_a_second_changes_nothing(partition: Any) -> None:
    assert partition.run(ECHO.format(text="hello")).outcome == "done"
    first = partition.files()
    times = {path: path.stat().st_mtime_ns for path in partition.folder.rglob("etc/*")}
    assert partition.run().outcome == "done"
    assert partition.files() == first
    assert {path: path.stat().st_mtime_ns for path in partition.folder.rglob("etc/*")} == times


def test_a_part_that_goes_takes_its_files_along(partition: Any) -> None:
    partition.run(ECHO.format(text="hello"))
    result = partition.run("[buildout]\nparts =\n")
    assert (result.outcome, result.error) == ("done", "")
    assert list(partition.files()) == []


@pytest.mark.parametrize(
    "name", ["a\n[buildout]\nparts = x", "a = 1\n__buildout_installed__", "[x]", " a", "", "a:b", "%41", "é", "a+", "#"]
)
def test_names_that_others_choose_stay_names(partition: Any, name: str) -> None:
    partition.parameters = {name: "value"}
    profile = "[buildout]\nparts = slap\n[slap]\nrecipe = allotment.recipes:slapconfiguration\n"
    for _ in range(2):
        assert partition.run(profile).error == ""
    assert "Updating slap" in partition.log.read_text(), "what was recorded is what is there"
    assert "Uninstalling" not in partition.log.read_text()
    assert "damaged" not in partition.log.read_text()


def test_a_changed_option_changes_the_file(partition: Any) -> None:
    partition.run(ECHO.format(text="hello"))
    partition.run(ECHO.format(text="goodbye"))
    assert partition.text("etc/one") == "goodbye"


def test_a_failing_part_leaves_the_files_of_the_run_before(partition: Any) -> None:
    partition.run(ECHO.format(text="hello"))
    before = partition.files()
    result = partition.run(
        """\
        [buildout]
        parts = two broken
        [two]
        recipe = allotment.recipes:template.jinja2
        inline = second
        output = etc/two
        [broken]
        recipe = allotment.recipes:template.jinja2
        inline = {{ nothing }}
        output = etc/broken
        """
    )
    assert result.outcome == "failed"
    assert result.error == ("[broken] inline, line 1: 'nothing' is undefined. Correct the template or its context.")
    assert partition.files() == before


def test_a_failing_run_tells_nothing_new(partition: Any) -> None:
    partition.run("[buildout]\nparts = p\n[p]\nrecipe = allotment.recipes:publish\nurl = http://one/\n")
    partition.run(
        "[buildout]\nparts = p q\n[p]\nrecipe = allotment.recipes:publish\nurl = two\n[q]\nrecipe = nothing\n"
    )
    assert dict(partition.published.values) == {"url": "http://one/"}


def test_sections_know_the_folder_of_their_profile(release: Any) -> None:
    release.write("stack/base.cfg", "[place]\nhere = ${:_profile_base_location_}\n")
    result = release.build(
        """\
        [buildout]
        extends = stack/base.cfg
        parts = one
        [one]
        recipe = allotment.recipes:template.jinja2
        inline = ${place:here} ${:_profile_base_location_}
        output = ${buildout:directory}/one
        """
    )
    assert result.error == ""
    assert (release.folder / "one").read_text() == f"{release.root}/stack {release.root}"


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:wraper\n",
            "[x] recipe: allotment.recipes has no recipe 'wraper'. Did you mean 'wrapper'? Valid: ",
        ),
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipe:wrapper\n",
            "[x] recipe: no installed distribution 'allotment.recipe' offers recipes. Did you mean 'allotment-recipes'? ",
        ),
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:wrapper\ncomand-line = a\nwrapper-path = b\n",
            "[x] comand-line: unknown option. Did you mean 'command-line'? Valid: command-line, ",
        ),
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:wrapper\nwrapper-path = b\n",
            "[x] command-line: missing option. Add 'command-line = ...'.",
        ),
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:template.jinja2\noutput = a\ninline = b\nmode = rw\n",
            "[x] mode: 'rw' is not an octal number. Write it like 0644.",
        ),
        (
            "[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:template.jinja2\noutput = ${y:output}\ninline = a\n",
            "[x] refers to the section 'y', which does not exist. ",
        ),
        (
            "[buildout]\nparts = x\n[y]\nplace = 1\n[x]\nrecipe = allotment.recipes:template.jinja2\noutput = ${y:plaec}\n",
            "[x] refers to ${y:plaec}, but [y] has no such option. Did you mean 'place'? Valid: place.",
        ),
        (
            "[buildout]\nparts = nginx\n[ngnix]\nrecipe = a\n",
            "[buildout] refers to the section 'nginx', which does not ",
        ),
        (
            "[buildout]\nparts = x\n[x]\nfoo = 1\n",
            "[x] recipe: missing option. Add 'recipe = ...', or take it out of parts.",
        ),
    ],
)
def test_a_mistake_is_named_with_section_option_and_fix(partition: Any, profile: str, message: str) -> None:
    result = partition.run(profile)
    assert result.outcome == "failed"
    assert result.error.startswith(message)


def test_a_file_that_is_no_profile_is_named_with_its_line(partition: Any) -> None:
    result = partition.run("nonsense\n")
    assert str(partition.software / "instance.cfg") in result.error
    assert "line 1" in result.error


def test_an_option_that_another_section_reads_is_a_variable_not_a_mistake(partition: Any) -> None:
    result = partition.run(
        """\
        [buildout]
        parts = one two three
        [one]
        recipe = allotment.recipes:wrapper
        wrapper-path = bin/one
        port = 80
        command-line = serve ${:port}
        [two]
        recipe = allotment.recipes:template.jinja2
        greeting = hi
        output = etc/two
        inline = ${one:port} {{ whole.greeting }} {{ port }}
        context =
          section whole two
          key port one:port
        [three]
        <= one
        wrapper-path = bin/three
        """
    )
    assert result.error == ""
    assert partition.text("etc/two") == "80 hi 80"
    assert 'exec serve 80 "$@"' in partition.text("bin/three")


def test_two_sections_that_write_one_path_are_an_error(partition: Any) -> None:
    profile = textwrap.dedent(ECHO.format(text="hello")).replace("parts = one", "parts = one two") + "[two]\n<= one\n"
    result = partition.run(profile)
    assert result.error == f"[two] writes {partition.folder}/etc/one, as [one] does. Give one another path."


def test_a_profile_that_can_not_be_opened_is_named(partition: Any) -> None:
    (partition.software / "folder.cfg").mkdir()
    result = partition.run("[buildout]\nextends = folder.cfg\nparts =\n")
    assert result.error == f"{partition.software}/folder.cfg can't be read: Is a directory. Correct that."


def test_profiles_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "software.cfg").write_text("[buildout]\nparts =\n[page]\ntitle = é\n", encoding="utf-8")
    request = dict.fromkeys(("folder", "sources", "closure"), ".") | {"profile": "software.cfg"}
    code = f"from allotment_recipes.runs.profile import read; print(read({request}))"
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"software.cfg" in done.stdout


def test_a_damaged_record_means_that_all_parts_are_made_again(partition: Any) -> None:
    partition.run(ECHO.format(text="hello"))
    for damage in ("", "garbage\n", "[buildout]\nparts = one\n", "[one]\nrecipe = x\n"):
        (partition.folder / ".installed.cfg").write_text(damage)
        result = partition.run()
        assert (result.outcome, result.error) == ("done", ""), damage
    assert partition.text("etc/one") == "hello"


def test_the_record_is_private_and_does_not_grow(partition: Any) -> None:
    partition.run(ECHO.format(text="hello"))
    path = partition.folder / ".installed.cfg"
    size = path.stat().st_size
    for _ in range(3):
        partition.run()
    assert path.stat().st_size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_record_is_written_when_it_is_another_only(partition: Any) -> None:
    record = partition.folder / ".installed.cfg"
    written = []
    for text in ("hello", "hello", "bye"):
        assert partition.run(ECHO.format(text=text)).outcome == "done"
        written.append((record.stat().st_ino, f"inline = {text}" in record.read_text()))
    assert written[0] == written[1] != written[2]
    assert all(found for _, found in written)


def test_parts_hashes_depend_on_content_not_on_place(release: Any, short_path: Path) -> None:
    profile = """\
        [buildout]
        parts = one two
        [base]
        file = ${:_profile_base_location_}/data.txt
        [one]
        recipe = allotment.recipes:template.jinja2
        url = ${base:file}
        output = ${buildout:directory}/one
        [two]
        recipe = allotment.recipes:template.jinja2
        inline = ${one:output}
        output = ${buildout:directory}/two
        """
    release.write("data.txt", "one")
    first = release.build(profile)
    assert first.error == ""
    elsewhere = type(release)(short_path / "r", short_path / "b", short_path / "s", release.engine)
    elsewhere.write("data.txt", "one")
    assert elsewhere.build(profile).parts == first.parts
    release.write("data.txt", "other")
    second = release.build()
    assert second.parts["one"] != first.parts["one"], "its file is an input"
    assert second.parts["two"] != first.parts["two"], "it refers to one"


def test_a_failing_build_keeps_the_record_of_the_parts_that_are_done(release: Any) -> None:
    result = release.build(
        """\
        [buildout]
        parts = one two
        [one]
        recipe = allotment.recipes:template.jinja2
        inline = one
        output = ${buildout:directory}/one
        [two]
        recipe = allotment.recipes:template.jinja2
        inline = {{ nothing }}
        output = ${buildout:directory}/two
        """
    )
    assert not result.ok
    assert "parts = one" in (release.folder / ".installed.cfg").read_text()


BUGGY = """\
class Recipe:
    def __init__(self, buildout, name, options):
        self.options = options

    def install(self):
        print("about to fail")
        return [] if self.options.get("good") else 1 / 0

    update = install
"""


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuildEngine]:
    """An engine that sees a distribution of somebody else, on PYTHONPATH."""
    folder = tmp_path / "site"
    (folder / "buggy-1.0.dist-info").mkdir(parents=True)
    (folder / "buggy.py").write_text(BUGGY)
    (folder / "buggy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: buggy\nVersion: 1.0\n")
    (folder / "buggy-1.0.dist-info" / "entry_points.txt").write_text("[zc.buildout]\ndefault = buggy:Recipe\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with BuildEngine() as engine:
        yield engine


def test_a_bug_in_a_recipe_is_one_line_in_the_result_and_a_traceback_in_the_log(
    partition: Any, third_party: BuildEngine
) -> None:
    partition.engine = third_party
    result = partition.run("[buildout]\nparts = p\n[p]\nrecipe = buggy\n")
    assert (result.outcome, result.error) == ("failed", "ZeroDivisionError: division by zero")
    log = partition.log.read_text()
    assert "about to fail" in log
    assert 'return [] if self.options.get("good") else 1 / 0' in log


def test_a_recipe_that_knows_nothing_of_us_runs(partition: Any, third_party: BuildEngine) -> None:
    partition.engine = third_party
    assert partition.run("[buildout]\nparts = p\n[p]\nrecipe = buggy\ngood = yes\n").outcome == "done"
    assert partition.run("[buildout]\nparts =\n").outcome == "done"


def test_the_umask_of_the_caller_does_not_matter(partition: Any) -> None:
    old = os.umask(0o077)
    try:
        partition.run(ECHO.format(text="x"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((partition.folder / "etc/one").stat().st_mode) == 0o644


CIRCLE = """\
    [buildout]
    parts = {parts}
    [one]
    recipe = allotment.recipes:template.jinja2
    mode = {mode}
    inline = ${{two:output}}
    output = ${{buildout:directory}}/one
    [two]
    recipe = allotment.recipes:template.jinja2
    inline = ${{one:mode}} ${{three:inline}}
    output = ${{buildout:directory}}/two
    [three]
    recipe = allotment.recipes:template.jinja2
    inline = {text}
    context = raw other ${{one:recipe}}
    output = ${{buildout:directory}}/three
    """


def test_parts_that_refer_to_each_other_are_known_by_the_inputs_of_all(release: Any) -> None:
    def hashes(**fields: str) -> dict[str, str]:
        result = release.build(CIRCLE.format(**{"parts": "one two three", "mode": "0644", "text": "x", **fields}))
        assert result.error == ""
        return dict(result.parts)

    first = hashes()
    assert release.text("two") == "0644 x"
    assert hashes(parts="three two one") == first, "whichever is asked for first"
    for other in (hashes(mode="0600"), hashes(text="y")):
        assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("a = ${:a}", "[one] a refers to what refers back to it: ${one:a} -> ${one:a}"),
        ("b = ${two:c}", "[two] c refers to what refers back to it: ${two:c} -> ${one:b} -> ${two:c}"),
    ],
)
def test_options_that_refer_to_each_other_are_named(partition: Any, options: str, told: str) -> None:
    profile = f"[buildout]\nparts = one\n[one]\nrecipe = allotment.recipes:wrapper\n{options}\n[two]\nc = ${{one:b}}\n"
    assert partition.run(profile).error == f"{told}. Take one of these references out."


def test_a_profile_without_parts_is_named(partition: Any) -> None:
    assert partition.run("[buildout]\n").error == "[buildout] parts: missing option. Add 'parts = ...'."


def test_the_graph_of_parts_goes_through_plain_sections(tmp_path: Path) -> None:
    """The driver changes folder and logging, so it is driven in a process of its own."""
    (tmp_path / "software.cfg").write_text(
        "[buildout]\nparts = top alone\n[base]\nrecipe = allotment.recipes:mkdirectory\nx = x\n[plain]\ny = ${base:x}\n"
        "[top]\nrecipe = allotment.recipes:mkdirectory\nz = ${plain:y}/z\n[alone]\nrecipe = allotment.recipes:mkdirectory\n"
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom allotment_recipes.driver import Buildout\n"
        "from allotment_recipes.context import RunContext\nfrom allotment_recipes.journal import Journal\n"
        "from allotment_recipes.tokens import Tokens\nfolder = Path(sys.argv[1])\n"
        "run = RunContext(folder, Journal(immediate=True), folder, Tokens(b''))\n"
        "buildout = Buildout(folder / 'software.cfg', run, {})\nbuildout.prepare_parts()\nprint(buildout.graph())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "{'base': (), 'top': ('base',), 'alone': ()}"


def test_half_parts_of_a_build_that_was_killed_are_removed(release: Any) -> None:
    (release.folder / "store" / ".app-1.0-x").mkdir(parents=True)
    (release.folder / "store" / ".app-1.0-x" / "half").write_text("")
    assert release.build("[buildout]\nparts =\n").error == ""
    assert list((release.folder / "store").iterdir()) == []


def test_what_is_no_longer_published_is_taken_back(partition: Any) -> None:
    partition.run("[buildout]\nparts = p\n[p]\nrecipe = allotment.recipes:publish\nurl = http://one/\n")
    partition.run("[buildout]\nparts =\n")
    assert dict(partition.published.values) == {}
