# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.lint import release_checks, rules

Release = Callable[..., Path]
OPEN = {"$schema": release_checks.DRAFT, "type": "object"}


def found(profile: Path) -> list[str]:
    return [str(problem) for problem in rules.relative(release_checks.check(profile, {}), profile.parent)]


def test_a_release_without_problems_has_none(tmp_path: Path, release: Release) -> None:
    assert found(release(tmp_path / "site")) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"input_json": {**OPEN, "properties": {"port": {"type": "integer"}}}},
            "input.json:5: port has no description. Say in one line what it is for. [schema]",
        ),
        (
            {"input_json": {**OPEN, "properties": {"ports": {"description": "x", "type": "array"}}}},
            "input.json:5: ports is of type array, not a single value. "
            "Make each of its values a parameter of its own. [schema]",
        ),
        (
            {"input_json": {**OPEN, "properties": {"thePort": {"description": "x", "type": "integer"}}}},
            "input.json:5: thePort is not written in small letters and dashes. [name]",
        ),
        (
            {"input_json": {"properties": {}}},
            'input.json: $schema is not draft 2020-12. Write "https://json-schema.org/draft/2020-12/schema". [schema]',
        ),
        ({"input_json": "{"}, "input.json: is not JSON: "),
        ({"input_json": "[]"}, "input.json: is not a JSON object. Correct it. [schema]"),
        ({"input_json": None}, "input.json: can't be read: No such file or directory. Correct it. [schema]"),
        ({"software_cfg_json": None}, "software.cfg: "),
        (
            {"instance_cfg_in": "[buildout]\nparts = publish\n[publish]\nrecipe = allotment.recipes:publish\nur = x\n"},
            "instance.cfg.in:5: ur is published, but not in output.json. Describe it there. [published]",
        ),
        (
            {"instance_cfg_in": "[buildout]\nparts = publish\n[publish]\nrecipe = allotment.recipes:publish\nur = x\n"},
            "output.json:6: url is required of what site publishes, but no section publishes it. "
            "Publish it, or take it out. [published]",
        ),
        (
            {"instance_cfg_in": "[buildout]\nparts = publish\n[publish]\nrecipe = allotment.recipes:publsh\nurl = x\n"},
            "instance.cfg.in:4: [publish] recipe: allotment.recipes has no recipe 'publsh'.",
        ),
    ],
)
def test_a_problem_is_told_with_its_place_and_fix(
    tmp_path: Path, release: Release, changes: dict[str, Any], problem: str
) -> None:
    problems = found(release(tmp_path / "site", **changes))
    assert [item for item in problems if item.startswith(problem)], problems


def test_a_profile_that_is_rendered_from_the_section_itself_is_there(tmp_path: Path, release: Release) -> None:
    profile = release(tmp_path / "site")
    template = "[instance]\nrecipe = allotment.recipes:template\n"
    profile.write_text(
        f"[buildout]\nparts = instance\n{template}inline = [buildout]\noutput = ${{buildout:directory}}/instance.cfg\n"
    )
    assert not [problem for problem in found(profile) if "no part renders" in problem]


def test_a_type_whose_profile_nobody_renders_is_told(tmp_path: Path, release: Release) -> None:
    profile = release(tmp_path / "site")
    document = json.loads(profile.with_name("software.cfg.json").read_text())
    document["types"]["default"]["profile"] = "instances.cfg"
    profile.with_name("software.cfg.json").write_text(json.dumps(document))
    assert found(profile) == [
        "software.cfg.json:1: types: default: profile: no part renders instances.cfg. "
        "Correct the name, or add the part. [schema]"
    ]


def test_what_a_profile_behind_a_url_may_render_is_not_told(tmp_path: Path, release: Release) -> None:
    software = f"""\
[buildout]
extends = https://localhost/stack.cfg#sha256={"0" * 64}
parts = instance-profile
[instance-profile]
<= template-of-the-stack
output = ${{buildout:directory}}/instance.cfg
"""
    assert found(release(tmp_path / "site", software_cfg=software)) == []


def test_what_is_published_for_a_shared_instance_is_not_the_instance_s(tmp_path: Path, release: Release) -> None:
    instance = (
        "[buildout]\nparts = publish one\n[publish]\nrecipe = allotment.recipes:publish\nurl = x\n"
        "[one]\nrecipe = allotment.recipes:publish\n-shared = one\nother = x\n"
    )
    assert found(release(tmp_path / "site", instance_cfg_in=instance)) == []


def test_variables_of_the_template_are_known_where_the_software_profile_says_them(
    tmp_path: Path, release: Release
) -> None:
    profile = release(
        tmp_path / "site",
        software_cfg=(
            "[buildout]\nparts = instance-profile\n[stack]\nfolder = ${:_profile_base_location_}\n"
            "[instance-profile]\nrecipe = allotment.recipes:template.jinja2\n"
            "url = ${:_profile_base_location_}/instance.cfg.in\noutput = ${buildout:directory}/instance.cfg\n"
            "context =\n  raw stack ${stack:folder}\n  key other stack:folder\n"
        ),
        instance_cfg_in=(
            "[buildout]\nextends = {{ stack }}/base.cfg\nparts = publish\n[publish]\n"
            "recipe = allotment.recipes:publish\nurl = ${base:urll}\n"
        ),
    )
    (profile.parent / "base.cfg").write_text("[base]\nurl = x\n")
    assert found(profile) == [
        "instance.cfg.in:6: [publish] refers to ${base:urll}, but [base] has no such option. "
        "Did you mean 'url'? Valid: url. [reference]"
    ]


def test_instance_profiles_that_the_recipe_template_renders_are_checked(tmp_path: Path, release: Release) -> None:
    profile = release(
        tmp_path / "site",
        software_cfg=(
            "[buildout]\nparts = instance-profile\n[instance-profile]\nrecipe = allotment.recipes:template\n"
            "url = ${:_profile_base_location_}/instance.cfg.in\noutput = ${buildout:directory}/instance.cfg\n"
        ),
        instance_cfg_in=(
            "[buildout]\nparts = publish\n[publish]\nrecipe = allotment.recipes:publish\nurl = $${nothing:here}\n"
            "page = ${buildout:directory}\n"
        ),
    )
    assert [item.partition(". ")[0] for item in found(profile)] == [
        "instance.cfg.in:5: [publish] refers to ${nothing:here}, but there is no section 'nothing'",
        "instance.cfg.in:6: page is published, but not in output.json",
    ]
