# SPDX-License-Identifier: Apache-2.0
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret
from allotment_recipes.recipes.switch_softwaretype import Recipe
from allotment_recipes.testing import given_instance

OUTER = """\
    [buildout]
    parts = switch {more}
    [slap-configuration]
    recipe = allotment.recipes:slapconfiguration
    [rendered]
    recipe = allotment.recipes:template.jinja2
    url = {software}/inner.cfg.in
    output = ${{buildout:directory}}/inner.cfg
    context = key password slap-configuration:configuration.password
    [outer-file]
    recipe = allotment.recipes:template.jinja2
    inline = outer
    output = etc/outer
    [switch]
    recipe = allotment.recipes:switch-softwaretype
    default = rendered:output
    small = {software}/small.cfg
    """
INNER = """\
[buildout]
extends = {software}/common.cfg
parts = page publish
[page]
recipe = allotment.recipes:template.jinja2
inline = {{{{ password }}}}
output = ${{directory:etc}}/page
"""
COMMON = """\
[directory]
recipe = allotment.recipes:mkdirectory
etc = ${buildout:directory}/etc
[publish]
recipe = allotment.recipes:publish
password = ${page:inline}
"""
SMALL = """\
[buildout]
parts = tiny
[tiny]
recipe = allotment.recipes:template.jinja2
inline = tiny
output = etc/tiny
"""


class Switched:
    """A partition whose profile renders one profile and names another."""

    def __init__(self, partition: Any) -> None:
        self.partition = partition
        self.partition.parameters = {"password": Secret("correct-horse")}
        self.write("inner.cfg.in", INNER.format(software=partition.software))
        self.write("common.cfg", COMMON)
        self.write("small.cfg", SMALL)

    def write(self, name: str, text: str) -> None:
        (self.partition.software / name).write_text(text)

    def run(self, software_type: str = "default", more: str = "", added: str = "") -> Any:
        self.partition.software_type = software_type
        return self.partition.run(OUTER.format(software=self.partition.software, more=more) + added)

    @property
    def files(self) -> set[str]:
        return {name for name in self.partition.files() if not name.startswith(".installed")}


@pytest.fixture
def switched(partition: Any) -> Switched:
    return Switched(partition)


def test_the_profile_of_the_type_is_run_in_the_same_run(switched: Switched) -> None:
    result = switched.run()
    assert (result.outcome, result.error) == ("done", "")
    assert switched.files == {"inner.cfg", "etc/page"}
    assert switched.partition.text("etc/page") == "correct-horse"
    before = {name: (switched.partition.folder / name).stat().st_mtime_ns for name in switched.partition.files()}
    assert switched.run().outcome == "done"
    after = {name: (switched.partition.folder / name).stat().st_mtime_ns for name in switched.partition.files()}
    assert before == after, "a second run writes nothing"


def test_a_secret_stays_one_in_a_rendered_profile(switched: Switched) -> None:
    switched.run()
    folder = switched.partition.folder
    assert switched.partition.published.values["password"] == Secret("correct-horse")
    for name in (".installed.cfg", ".installed-switch.cfg"):
        assert "correct-horse" not in switched.partition.text(name)
    assert (folder / "etc/page").stat().st_mode & 0o077 == 0


def test_another_type_removes_what_the_first_had(switched: Switched) -> None:
    switched.run()
    assert switched.run("small").error == ""
    assert switched.files == {"etc/tiny"}
    assert switched.run().error == ""
    assert switched.files == {"inner.cfg", "etc/page"}


def test_root_software_instance_and_default_are_the_same(switched: Switched) -> None:
    assert switched.run("RootSoftwareInstance").error == ""
    assert "etc/page" in switched.files
    profile = OUTER.replace("default =", "RootSoftwareInstance =")
    assert switched.partition.run(profile.format(software=switched.partition.software, more="")).error == ""


def test_an_override_is_read_last(switched: Switched) -> None:
    switched.write("more.cfg", "[page]\ninline = overridden\n")
    override = f'override = {{"default": "{switched.partition.software}/more.cfg"}}\n'
    assert switched.run(added=override).error == ""
    assert switched.partition.text("etc/page") == "overridden"


def test_without_its_section_all_is_removed(switched: Switched) -> None:
    switched.run(more="outer-file")
    profile = OUTER.replace("parts = switch {more}", "parts = outer-file")
    profile = profile[: profile.index("[switch]")].replace(
        "    context = key password slap", "    context = key p slap"
    )
    assert switched.partition.run(profile.format(software=switched.partition.software, more="")).error == ""
    assert switched.partition.files().keys() == {".installed.cfg", "etc/outer"}


def test_an_error_within_is_named_and_nothing_is_applied(switched: Switched) -> None:
    switched.run()
    switched.write("small.cfg", SMALL.replace("inline = tiny", "inlin = tiny"))
    result = switched.run("small", more="outer-file")
    assert result.error.startswith("small.cfg: [tiny] "), result.error
    assert switched.files == {"inner.cfg", "etc/page"}
    switched.write("small.cfg", "[buildout\n")
    assert switched.run("small").error.startswith("small.cfg: ")
    switched.write("small.cfg", "[buildout]\nextends = none.cfg\nparts =\n")
    result = switched.run("small")
    assert "none.cfg does not exist" in result.error, result.error
    assert switched.files == {"inner.cfg", "etc/page"}


def test_a_path_that_both_profiles_write_is_named(switched: Switched) -> None:
    same = SMALL.replace("etc/tiny", "etc/outer").replace("tiny", "outer-file")
    switched.write("small.cfg", same)
    error = (
        f"[outer-file] writes {switched.partition.folder}/etc/outer, "
        "as the section of that name in another profile does. Give one another path."
    )
    assert switched.run("small", more="outer-file").error in (error, f"small.cfg: {error}")
    switched.write("small.cfg", same.replace("inline = outer-file", "inline = outer"))
    assert switched.run("small", more="outer-file").error == "", "both write the same"


def test_sections_of_one_name_nest(switched: Switched) -> None:
    switched.write(
        "small.cfg",
        "[buildout]\nparts = switch more\n[switch]\nrecipe = allotment.recipes:switch-softwaretype\n"
        f"small = {switched.partition.software}/tiny.cfg\n[more]\n<= file\noutput = etc/more\n"
        "[file]\nrecipe = allotment.recipes:template.jinja2\ninline = more\n",
    )
    switched.write("tiny.cfg", SMALL)
    for _ in range(2):
        assert switched.run("small").error == ""
        assert switched.files == {"etc/tiny", "etc/more"}
    assert "Updating tiny" in switched.partition.log.read_text()
    assert "Uninstalling" not in switched.partition.log.read_text()
    switched.write("small.cfg", "[buildout]\nparts =\n")
    assert switched.run("small").error == ""
    assert list(switched.partition.files()) == [".installed.cfg"]


def test_a_run_that_fails_forgets_nothing_of_what_is_installed(switched: Switched) -> None:
    switched.run("small")
    record = switched.partition.text(".installed-switch.cfg")
    switched.write("small.cfg", "[buildout]\nparts =\n")
    broken = "[broken]\n    recipe = allotment.recipes:command\n    command = false\n"
    assert switched.run("small", more="broken", added=broken).error.startswith("[broken] ")
    assert switched.partition.text(".installed-switch.cfg") == record
    assert switched.run("small").error == ""
    assert list(switched.partition.files()) == [".installed.cfg"]


CHILD = """\
[child]
recipe = allotment.recipes:request
name = backend
release = shop
return = url
[tiny]
recipe = allotment.recipes:template.jinja2
inline = ${child:connection-url}
output = etc/tiny
[other]
recipe = allotment.recipes:template.jinja2
inline = here
output = etc/other
"""


def test_what_waits_within_is_named_and_the_rest_is_processed(switched: Switched) -> None:
    switched.run()
    switched.write("small.cfg", f"[buildout]\nparts = tiny other\n{CHILD}")
    result = switched.run("small", more="outer-file")
    reason = "child 'backend' has not published 'url' yet"
    assert result.waiting == (f"small.cfg: child: {reason}", f"small.cfg: tiny: {reason}")
    assert switched.files == {"etc/page", "etc/other", "etc/outer"}, "nothing of the inner profile is uninstalled"
    assert [item.name for item in switched.partition.requests.requests] == ["backend"]
    assert switched.partition.requests.complete is False
    switched.partition.answers = {"backend": ChildAnswer(InstanceState.STARTED, {"url": "http://b/"})}
    assert switched.run("small", more="outer-file").outcome == "done"
    assert switched.files == {"etc/tiny", "etc/other", "etc/outer"}


def test_a_part_that_waits_outside_keeps_all_within(switched: Switched) -> None:
    switched.run()
    waiting = CHILD.replace("[tiny]", "[unused]").replace("etc/tiny", "etc/unused")
    profile = OUTER.replace(
        "key password slap-configuration:configuration.password", "key password child:connection-url"
    )
    result = switched.partition.run(
        textwrap.dedent(profile.format(software=switched.partition.software, more="")) + waiting
    )
    assert result.error == ""
    assert [text.split(":")[0] for text in result.waiting] == ["rendered", "switch", "child"]
    assert switched.files == {"inner.cfg", "etc/page"}


def test_profiles_nest(switched: Switched) -> None:
    switched.write(
        "small.cfg",
        "[buildout]\nparts = deeper\n[deeper]\nrecipe = allotment.recipes:switch-softwaretype\n"
        f"small = {switched.partition.software}/tiny.cfg\n",
    )
    switched.write("tiny.cfg", SMALL)
    assert switched.run("small").error == ""
    assert switched.files == {"etc/tiny"}
    switched.write("tiny.cfg", SMALL.replace("recipe =", "recip ="))
    assert switched.run("small").error.startswith("small.cfg: tiny.cfg: [tiny]")
    assert switched.run().error == ""
    assert switched.files == {"inner.cfg", "etc/page"}


@pytest.mark.parametrize(
    ("software_type", "added", "message"),
    [
        ("smal", "", "[switch] smal: this instance's software type has no profile. Did you mean 'small'?"),
        ("default", "override = {\n", "[switch] override: is not JSON: "),
        ("default", "override = []\n", "[switch] override: is not a JSON object of paths. "),
        ("default", 'override = {"default": 1}\n', "[switch] override: is not a JSON object of paths. "),
        ("default", 'override = {"default": ""}\n', "[switch] override: is empty. "),
        ("default", 'override = {"default": "/none.cfg"}\n', "[switch] default: /none.cfg does not exist. "),
        ("other", "other = none.cfg\n", "[switch] other: {folder}/none.cfg does not exist. Correct the path."),
        ("other", "other = a b.cfg\n", "[switch] other: 'a b.cfg' has white space in it. Write one path, without any."),
        ("other", "other =\n", "[switch] other: is empty. Write a profile's path, or section:option."),
        ("other", "other = none:output\n", "[switch] refers to the section 'none', which does not exist."),
        (
            "other",
            "other = outer-file:outpt\n",
            "[switch] other: [outer-file] has no option 'outpt'. Did you mean 'output'?",
        ),
    ],
)
def test_what_is_wrong_is_named(switched: Switched, software_type: str, added: str, message: str) -> None:
    error = switched.run(software_type, added=added).error
    assert error.startswith(message.format(folder=switched.partition.folder)), error


def test_upstreams_buildout_is_told_that_it_can_not(make_recipe: Callable[..., Any]) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(Recipe, {"default": "a.cfg"}, given_instance())
    assert str(caught.value) == (
        "[part] runs a profile within another, which only an instance's run can. Process it by allot."
    )
