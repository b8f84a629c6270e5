# SPDX-License-Identifier: Apache-2.0
"""Nothing that users meet is undocumented, and what the documentation shows is true."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from allotment import codec, hookspecs
from allotment.commands.plugins import describe_all
from allotment.options import options_of, parse_options
from allotment.plugins import load, plugins
from allotment_recipes import aliases
from allotment_recipes.commands.lint import check

WORDS = """section option part recipe profile component software_release node partition instance shared_instance
instance_tree promise sense test anomaly bang supply request desired_state observed_state reconcile store source_cache
binary_cache usage_record price invoice statement manifest desired-state_document generation zygote engine web_tier
test_node project revision run job step test_case lease heartbeat attempt verdict"""


@pytest.fixture(scope="module")
def generate(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("docs/generate.py")


def test_every_hook_is_documented(generate: ModuleType) -> None:
    page = generate.hooks_page()
    names = [name for name in vars(hookspecs) if name.startswith("allotment_")]
    assert len(names) >= 8
    for name in names:
        assert f"## `{name}`" in page
        assert len(getattr(hookspecs, name).__doc__.split()) > 10, f"{name} does not say when it is called"
    for planned in hookspecs.PLANNED:
        assert planned.name in page and planned.doc in page


def test_every_plugin_loads_and_says_what_each_thing_is_for() -> None:
    listing = describe_all()
    assert listing["broken"] == []
    assert [item["name"] for item in listing["items"] if not item["doc"] or item["doc"].startswith("broken:")] == []


def test_every_option_is_documented(generate: ModuleType) -> None:
    recipes, promises = generate.recipe_pages(), generate.promises_page()
    undocumented = []
    for item in describe_all()["items"]:
        if item["kind"] == "recipe":
            assert f"(recipes/{item['name']}.md)" in recipes["recipes"]
        elif item["kind"] != "promise":
            continue
        page = recipes[f"recipes/{item['name']}"] if item["kind"] == "recipe" else promises
        assert f"# {item['name']}\n" in page
        assert [option["name"] for option in item["options"] if f"| `{option['name']}` |" not in page] == []
        undocumented += [f"{item['name']}: {option['name']}" for option in item["options"] if not option["doc"]]
    assert undocumented == [], "end the field's line with a comment"


def test_the_page_of_a_recipe_has_all_that_its_user_asks(generate: ModuleType) -> None:
    page = generate.recipe_pages()["recipes/password"]
    assert "```{literalinclude} ../../examples/password.cfg" in page
    assert re.search(r"Other sections may read .*`password`", page)
    assert "`slapos.cookbook:generate.password`" in page


def test_every_promise_type_is_shown_in_a_section_that_is_right(generate: ModuleType) -> None:
    examples, page = generate.promise_examples(), generate.promises_page()
    types = {item.name: load(item.target) for item in plugins().items("allotment_promise_types")}
    ours = {name: target for name, target in types.items() if target.__module__.startswith("allotment_promises.")}
    assert set(examples) == set(ours)
    assert check([generate.EXAMPLES / "promises.cfg"], frozenset(), None) == []
    for name, target in ours.items():
        assert f"```ini\n{examples[name]}\n```" in page
        given = dict(re.findall(r"^config-(\S+) = (.*)$", examples[name], re.MULTILINE))
        parse_options(options_of(target), given)
    assert "It runs in operation only, where it is broken when one run failed" in page
    assert "In operation it is broken when 2 of 3 runs failed; it runs every minute, for 20 seconds at most;" in page
    assert "one run failed; it runs every day, for 5 minutes at most; from allotment.promises" in page


def test_the_schemas_of_sections_find_a_mistake(generate: ModuleType) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    document = json.loads(generate.recipe_schemas())
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    section = {"recipe": "allotment.recipes:template.jinja2", "output": "${buildout:directory}/x", "inline": "x"}
    assert validator.is_valid(section)
    for wrong in ({"mode": "rw"}, {"outptu": "y"}):
        assert not validator.is_valid({**section, **wrong}), wrong


def test_every_alias_is_documented(generate: ModuleType) -> None:
    page = generate.aliases_page()
    for distribution in aliases.distributions():
        for name in aliases.table(distribution):
            assert f"### {aliases.written_there(distribution, name)}\n" in page


def test_every_command_is_documented_with_its_options(generate: ModuleType) -> None:
    page = generate.commands_page()
    commands = [item for item in describe_all()["items"] if item["kind"] == "command"]
    assert commands
    for item in commands:
        assert f"## `allot {item['name']}`" in page
    assert re.findall(r"^\| `[^|]*` \|  \|$", page, re.MULTILINE) == [], "an option without help"


def test_every_setting_is_documented(generate: ModuleType) -> None:
    page = generate.settings_page()
    for cls in generate.settings_classes():
        comments = generate.field_comments(cls)
        for field in dataclasses.fields(cls):
            assert f"`{field.name}`" in page
            assert comments.get(field.name), f"{cls.__name__}.{field.name}: end the field's line with a comment"


def test_every_message_has_an_example_that_is_what_its_codec_writes(generate: ModuleType, root: Path) -> None:
    folder = root / "docs" / "reference" / "formats"
    classes = generate.message_classes()
    assert {path.stem for path in folder.glob("*.json")} == set(classes)
    for name, cls in classes.items():
        text = (folder / f"{name}.json").read_text()
        example = codec.loads(cls, text, where=name)
        assert codec.encode(example) == json.loads(text), f"{name}: fields are missing from the example"


def test_every_message_example_is_valid_by_its_schema(generate: ModuleType, root: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    for name, cls in generate.message_classes().items():
        example = json.loads((root / "docs" / "reference" / "formats" / f"{name}.json").read_text())
        jsonschema.Draft202012Validator(codec.schema(cls)).validate(example)


def test_every_message_is_in_the_page_of_formats(generate: ModuleType) -> None:
    page = generate.formats_page()
    for name in generate.message_classes():
        assert f"## {name}\n" in page and f"../formats/{name}.json" in page


def test_every_word_of_the_field_is_in_the_glossary(root: Path) -> None:
    text = (root / "docs" / "glossary.md").read_text()
    entries = {
        line.lower() for block in re.findall(r"```\{glossary\}(.*?)```", text, re.DOTALL) for line in block.split("\n")
    }
    assert [word for word in WORDS.split() if word.replace("_", " ") not in entries] == []


def test_the_hand_written_pages_link_only_to_files_that_exist(root: Path) -> None:
    pages = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        if "generated" in page.parts or "_build" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text()):
            if "generated/" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(root)}: {target}")
    assert broken == []


def test_the_code_that_pages_name_is_in_the_files_that_they_link_to(root: Path) -> None:
    wrong, count = [], 0
    for page in (root / "docs").glob("*/*.md"):
        for name, target in re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", page.read_text()):
            count += 1
            text = (page.parent / target).read_text() if (page.parent / target).is_file() else ""
            if not re.search(rf"^\s*(async )?(def|class) {name.rpartition('.')[2]}\b", text, re.MULTILINE):
                wrong.append(f"{page.name}: {name} in {target}")
    assert count > 10
    assert wrong == []
