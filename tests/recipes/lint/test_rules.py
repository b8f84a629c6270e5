# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment_recipes.lint import rules
from allotment_recipes.lint.view import View

RECIPE = "recipe = allotment.recipes:wrapper\n"


def found(folder: Path, text: str, name: str = "software.cfg", **others: str) -> list[str]:
    for other, content in others.items():
        (folder / f"{other}.cfg").write_text(content)
    (folder / name).write_text(text)
    view = View(folder / name)
    return [str(problem) for problem in rules.relative(rules.check_profile(view), folder)]


def test_a_profile_without_problems_has_none(tmp_path: Path) -> None:
    text = """\
[buildout]
parts = page

[settings]
greeting = hello

[page]
recipe = allotment.recipes:template.jinja2
inline = {{ text }}
output = ${buildout:directory}/page
context = key text settings:greeting
"""
    assert found(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:wraper\n",
            "software.cfg:4: [page] recipe: allotment.recipes has no recipe 'wraper'. Did you mean 'wrapper'?",
        ),
        (
            "[buildout]\nparts = run\n[run]\nrecipe = allotment.recipes:wrapper\n"
            "command-line = true\nwraper-path = bin/run\nwrapper-path = bin/x\n",
            "software.cfg:6: [run] wraper-path: unknown option, and nothing refers to it. Did you mean 'wrapper-path'?",
        ),
        (
            "[buildout]\nparts = run\n[run]\nrecipe = allotment.recipes:wrapper\ncommand-line = true\n",
            "software.cfg:3: [run] wrapper-path: missing option. Add 'wrapper-path = ...'. [option]",
        ),
        (
            "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:template.jinja2\n"
            "inline = x\noutput = page\nmode = rw\n",
            "software.cfg:7: [page] mode: 'rw' is not an octal number. Write it like 0644. [option]",
        ),
        (
            "[buildout]\nparts =\n  pages\n  page\n[page]\nrecipe = allotment.recipes:mkdirectory\n",
            "software.cfg:3: [buildout] parts: there is no section 'pages'. "
            "Did you mean 'page'? Valid: page. [reference]",
        ),
        (
            "[buildout]\nparts = page\n[page]\n<= pag\nrecipe = allotment.recipes:mkdirectory\n",
            "software.cfg:4: [page] <: there is no section 'pag'. Did you mean 'page'? Valid: page. [reference]",
        ),
        (
            "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:mkdirectory\na = x\n"
            "b =\n  1\n  ${folder:etc}\n",
            "software.cfg:8: [page] refers to ${folder:etc}, but there is no section 'folder'. "
            "Valid: page. [reference]",
        ),
        (
            "[buildout]\nparts = page\n[folder]\netc = a\n"
            "[page]\nrecipe = allotment.recipes:mkdirectory\na = ${folder:ect}\n",
            "software.cfg:7: [page] refers to ${folder:ect}, but [folder] has no such option. "
            "Did you mean 'etc'? Valid: etc. [reference]",
        ),
        (
            "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:mkdirectory\na = x\n[left]\nb = 1\n",
            "software.cfg:6: [left] is used by no part. List it in parts, refer to it, or take it out. [unused]",
        ),
        (
            "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:mkdirectory\na = x\n[versions]\nb = >=1\n",
            "software.cfg:7: [versions] b: '>=1' is not one version. Write the version alone, like 1.2.3. [pin]",
        ),
        (
            "[buildout]\nparts = tool\n[tool]\nrecipe = allotment.recipes:python.scripts\n"
            "eggs =\n  one\n  Two_x[extra]\n[versions]\none = 1\n",
            "software.cfg:7: [tool] eggs: Two_x has no version. Add 'Two_x = VERSION' to [versions]. [pin]",
        ),
        (
            "[buildout]\nparts = file\n[file]\nrecipe = allotment.recipes:download\nurl = http://127.0.0.1/x\n"
            "sha256sum = 12\n",
            "software.cfg:6: [file] sha256sum: '12' is not a sha256. Write 64 hexadecimal digits. [checksum]",
        ),
        (
            "[buildout]\nparts = file\n[file]\nrecipe = allotment.recipes:download\nfilename = x\n"
            "url = http://127.0.0.1/x\n",
            "software.cfg:6: [file] sha256sum: missing, so any bytes would do. "
            "Add 'sha256sum = ' and 64 digits. [checksum]",
        ),
        (
            f"[buildout]\nparts = tool\n[tool]\nrecipe = allotment.recipes:cmmi\nurl = http://127.0.0.1/x.tar\n"
            f"sha256sum = {'0' * 64}\npatches =\n  a.patch#{'1' * 64}\n  b.patch\n",
            "software.cfg:9: [tool] patches: b.patch has no sha256. Append '#' and it. [checksum]",
        ),
        (
            "[buildout]\nparts = MyPage\n[MyPage]\nrecipe = allotment.recipes:mkdirectory\na = x\n",
            "software.cfg:3: [MyPage] is not written in small letters, digits and dashes. Call it [my-page]. [name]",
        ),
        (
            "[buildout]\nparts = a\nwhat is this\n[a]\nrecipe = allotment.recipes:mkdirectory\nb = c\n",
            "software.cfg:3: 'what is this' is neither a section nor an option. "
            "Write '[section]', 'option = value', or indent it. [syntax]",
        ),
        (
            "[buildout]\nextends = other.cfg\nparts =\n",
            "software.cfg:2: extends: other.cfg can't be read: No such file or directory. "
            "Correct the path. [reference]",
        ),
        (
            "[buildout]\nextends = http://127.0.0.1/a.cfg\nparts =\n",
            "software.cfg:2: extends: http://127.0.0.1/a.cfg has no sha256. "
            "Append '#sha256=' and its sha256, or run 'allot lock' and commit allot.lock. [checksum]",
        ),
    ],
)
def test_a_problem_is_told_with_its_place_and_fix(tmp_path: Path, text: str, problem: str) -> None:
    problems = found(tmp_path, text)
    assert [item for item in problems if item.startswith(problem)], problems
    assert len(problems) == 1, problems


def test_a_rule_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "software.cfg").write_text(
        "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:mkdirectory\na = x\n[left]\nb = 1\n"
    )
    assert rules.check_profile(View(tmp_path / "software.cfg"), skip=frozenset({"unused"})) == []


def test_options_of_macros_belong_to_the_section_and_keep_their_place(tmp_path: Path) -> None:
    text = "[buildout]\nextends = base.cfg\nparts = run\n[run]\n<= wrapper\nwrapper-path = bin/run\n"
    base = "[wrapper]\nrecipe = allotment.recipes:wrapper\ncommand-line = true\nenvironmant = A=1\n"
    (problem,) = found(tmp_path, text, base=base)
    start = "base.cfg:4: [{}] environmant: unknown option, and nothing refers to it. Did you mean 'environment'?"
    assert problem.startswith(start.format("wrapper"))  # of the macro, once, however many inherit it
    (problem,) = found(tmp_path, text + RECIPE, base=base.replace(RECIPE, ""))
    assert problem.startswith(start.format("run").replace(":4:", ":3:"))


def test_values_that_are_added_and_taken_away_are_seen_as_buildout_sees_them(tmp_path: Path) -> None:
    base = (
        "[buildout]\nparts =\n  one\n  two\n[one]\nrecipe = allotment.recipes:mkdirectory\na = b\n"
        "[two]\n<= one\n[three]\n<= one\n"
    )
    (tmp_path / "base.cfg").write_text(base)
    (tmp_path / "software.cfg").write_text("[buildout]\nextends = base.cfg\nparts -= two\nparts += three\n")
    view = View(tmp_path / "software.cfg")
    assert [name for name, _, _ in view.parts()] == ["one", "three"]


def test_a_variable_that_is_referred_to_is_no_unknown_option(tmp_path: Path) -> None:
    text = (
        "[buildout]\nparts = run\n[run]\nrecipe = allotment.recipes:wrapper\nport = 80\n"
        "command-line = serve ${:port}\nwrapper-path = bin/run\n"
    )
    assert found(tmp_path, text) == []


def test_a_recipe_by_its_name_in_slapos_takes_any_option_and_is_known_otherwise(tmp_path: Path) -> None:
    text = (
        "[buildout]\nparts = run\n[run]\nrecipe = slapos.cookbook:wrapper\ncommand-line = true\nleft-over = x\n"
        "wrapper-path = ${nothing:here}\n"
    )
    (problem,) = found(tmp_path, text)
    assert problem.startswith("software.cfg:7: [run] refers to ${nothing:here}")
    (problem,) = found(tmp_path, text.replace("cookbook:wrapper", "cookbook:wraper").replace("nothing", "buildout"))
    assert problem.startswith(
        "software.cfg:4: [run] recipe: slapos.cookbook has no recipe 'wraper'. Did you mean 'wrap"
    )


@pytest.mark.parametrize(
    "option", ["-extends = early", "-init = a early:b", "default = early:output", "parts-main = early"]
)
def test_a_section_that_a_recipe_finds_by_its_name_is_used(tmp_path: Path, option: str) -> None:
    text = f"[buildout]\nparts = out\n[out]\nrecipe = allotment.recipes:publish\n{option}\n[early]\noutput = x\n"
    assert found(tmp_path, text) == []
    assert "[early] is used by no part" in found(tmp_path, text.replace(option, "url = early"))[0]


@pytest.mark.parametrize("read", ["self.buildout['early']", 'buildout["early"]', "self.buildout.get( 'early' )"])
def test_a_section_that_inline_python_reads_is_used(tmp_path: Path, read: str) -> None:
    text = "[buildout]\nparts = out\n[out]\nrecipe = slapos.recipe.build\ninit =\n"
    assert found(tmp_path, f"{text}  a = {read}['output']\n[early]\noutput = x\n") == []
    assert "[early] is used by no part" in found(tmp_path, f"{text}  a = options['early']\n[early]\noutput = x\n")[0]


@pytest.mark.parametrize("recipe", ["allotment.recipes:template", "slapos.recipe.template"])
def test_a_section_that_a_template_refers_to_is_used(tmp_path: Path, recipe: str) -> None:
    text = f"[buildout]\nparts = page\n[page]\nrecipe = {recipe}\noutput = x\n"
    text += "url = ${:_profile_base_location_}/page.cfg\n"
    text += "[nginx]\nlocation = /opt\n"
    assert found(tmp_path, text, page="${nginx:location}\n") == []
    assert "[nginx] is used by no part" in found(tmp_path, text, page="nginx\n")[0]


def test_options_of_somebody_elses_recipe_are_called_as_he_does(tmp_path: Path) -> None:
    text = "[buildout]\nparts = a\n[a]\nrecipe = slapos.recipe.build\nslapos_promise = file:a\n"
    assert found(tmp_path, text) == []


def test_options_that_need_one_another_are_told_when_all_of_them_are_known(tmp_path: Path) -> None:
    text = "[buildout]\nparts = job\n[job]\nrecipe = allotment.recipes:cron.entry\ncommand = true\n"
    assert found(tmp_path, text) == [
        "software.cfg:4: [job] frequency, time: none of them is given. Give one of them. [option]"
    ]
    assert found(tmp_path, text + "frequency = ${:often}\noften = @daily\n") == []
    assert found(tmp_path, text.replace("parts = job", "parts = day\n[day]\n<= job\ntime = 3:00")) == []


def test_a_service_without_promise_is_told(tmp_path: Path) -> None:
    service = (
        "[buildout]\nparts = run{}\n[run]\nrecipe = allotment.recipes:wrapper\ncommand-line = true\n"
        "wrapper-path = ${{buildout:directory}}/etc/service/run\n"
    )
    promise = "[checked]\nrecipe = allotment.recipes:promise\npromise = check_url_available\nconfig-url = a\n"
    assert found(tmp_path, service.format("")) == [
        "software.cfg:6: [run] is a service without promise. "
        "Add a part with the recipe promise that says whether it works. [promise]"
    ]
    assert found(tmp_path, service.format(" checked") + promise) == []


def test_what_only_a_run_knows_is_no_problem(tmp_path: Path) -> None:
    text = """\
[buildout]
extends = {{ stack }}/instance.cfg
parts = {% for number in range(3) %}
  page-{{ number }}
{% endfor %}

{% for number in range(3) %}
[page-{{ number }}]
<= template
mode = {{ mode }}
{# a comment
with = an option #}
inline = {% raw %}{{ text }}{% endraw %}
{% endfor %}
"""
    assert found(tmp_path, text, "instance.cfg.in") == []


def test_a_template_that_jinja_refuses_is_told_with_its_line(tmp_path: Path) -> None:
    problems = found(tmp_path, "[buildout]\nparts =\n{% for x in %}\n{% endfor %}\n", "instance.cfg.in")
    assert [item.rpartition(":")[0][:21] for item in problems] == ["instance.cfg.in:3: te"]


def test_sections_of_the_node_need_not_be_written(tmp_path: Path) -> None:
    text = """\
[buildout]
parts = slap
[slap]
recipe = slapos.cookbook:slapconfiguration
computer = ${slap-connection:computer-id}
partition = ${slap_connection:partition_id}
"""
    assert found(tmp_path, text, name="instance.cfg") == []


def test_escaped_references_are_those_of_the_rendered_profile(tmp_path: Path) -> None:
    text = (
        "[buildout]\nparts = a\n[a]\nrecipe = allotment.recipes:mkdirectory\n"
        "etc = ${software:location}/etc\nvar = $${nothing:here}\n"
    )
    (problem,) = found(tmp_path, text, "instance.cfg.in")
    assert problem.startswith("instance.cfg.in:6: [a] refers to ${nothing:here}, but there is no section 'nothing'.")


def test_circles_end(tmp_path: Path) -> None:
    text = (
        "[buildout]\nextends = software.cfg\nparts = a\n[a]\n<= a\nrecipe = allotment.recipes:mkdirectory\nb = ${:b}\n"
    )
    assert found(tmp_path, text) == []


@pytest.mark.parametrize("rule", rules.RULES)
def test_every_rule_says_what_it_finds(rule: str) -> None:
    assert (rules.RULES[rule].__doc__ or "").startswith(f"``{rule}``: ")
