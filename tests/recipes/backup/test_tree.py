# SPDX-License-Identifier: Apache-2.0
"""The recipes ``backup.tree`` and ``backup.role``: who is what in a resilient tree, also after takeovers."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret
from allotment_recipes.recipes import backup_role
from allotment_recipes.resilience import takeover
from allotment_recipes.resilience.succession import line
from allotment_recipes.resilience.takeover import Takeover

Make = Callable[..., Any]
ROOT = """\
    [buildout]
    parts = publish

    [slap-configuration]
    recipe = allotment.recipes:slapconfiguration

    [tree]
    recipe = allotment.recipes:backup.tree
    release = ${slap-configuration:manifest}
    data-type = data
    backup-type = backup
    standbys = ${slap-configuration:configuration.standbys}
    dismissed = ${slap-configuration:configuration.dismissed}
    parameters = ${slap-configuration:configuration}
    config-word = hello
    sla-node = node-1
    sla-room =
    return = url

    [publish]
    recipe = allotment.recipes:publish
    url = ${tree:connection-url}
    main = ${tree:main}
"""


def member(name: str, *over: str, **more: Any) -> ChildAnswer:
    """Return what an instance with data publishes; ``over``: moment, generation and predecessor of its takeover."""
    names = ("host", "port", "user", "host-key")
    published: dict[str, Any] = {f"backup-{part}": f"{part} of {name}" for part in names}
    published |= {"url": f"http://{name}/", "is-taken-over": "true" if over else "false"}
    published |= dict(zip(("takeover-moment", "takeover-generation", "takeover-predecessor"), over, strict=False))
    return ChildAnswer(InstanceState.STARTED, {**published, **more})


def backup(number: int) -> ChildAnswer:
    return ChildAnswer(InstanceState.STARTED, {"backup-key": f"key {number}"})


def answers(standbys: int, **others: ChildAnswer) -> dict[str, ChildAnswer]:
    """Return what all children of a tree publish; ``others`` in place of that, by name."""
    numbers = range(1, standbys + 1)
    found = {"main": member("main"), **{f"backup-{number}": backup(number) for number in numbers}}
    found |= {f"standby-{number}": member(f"standby-{number}") for number in numbers}
    return {**found, **{name.replace("_", "-"): answer for name, answer in others.items()}}


@pytest.fixture
def root(partition: Any) -> Make:
    """Process the root; return what each child is told, by name."""

    def run(given: Mapping[str, ChildAnswer], standbys: int = 1, dismissed: str = "", **more: Any) -> Any:
        partition.answers = given
        partition.parameters = {"standbys": standbys, "dismissed": dismissed, **more}
        result = partition.run(ROOT)
        assert result.outcome != "failed", result.error
        asked = {item.name: item for item in partition.requests.requests}
        partition.asked = asked
        return {name: json.loads(item.parameters["resilience"]) for name, item in asked.items()}

    return run


def roles(told: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: item["role"] for name, item in told.items()}


def test_keys_and_addresses_go_to_those_who_need_them_and_to_nobody_else(root: Make, partition: Any) -> None:
    told = root({}, 2, size=7)
    waits = {f"backup-{number}": {"role": "waiting"} for number in (1, 2)}
    common = {"main": "main", "since": "", "backup-keys": ""}
    standbys = {f"standby-{number}": {"role": "standby", **common} for number in (1, 2)}
    assert told == {"main": {"role": "main", **common}, **standbys, **waits}

    told = root(answers(2), 2, size=7)
    assert [told[name]["backup-keys"] for name in ("main", "standby-1", "standby-2")] == [
        "key 1\nkey 2",
        "key 1",
        "key 2",
    ]
    assert told["backup-2"] == {
        "role": "pull-and-push",
        "pull-host": "host of main",
        "pull-port": "port of main",
        "pull-user": "user of main",
        "pull-host-key": "host-key of main",
        "push-host": "host of standby-2",
        "push-port": "port of standby-2",
        "push-user": "user of standby-2",
        "push-host-key": "host-key of standby-2",
    }
    assert partition.published.values == {"url": "http://main/", "main": "main"}
    for name, kind in (("main", "data"), ("standby-2", "data"), ("backup-1", "backup")):
        asked = partition.asked[name]
        assert (asked.software_type, asked.release, dict(asked.sla)) == (kind, "f" * 64, {"node": "node-1"})
        others = {key: value for key, value in asked.parameters.items() if key != "resilience"}
        assert others == ({"size": 7, "word": "hello"} if kind == "data" else {})


def test_until_the_main_instance_answers_the_root_waits_and_who_is_not_whole_is_not_visited(
    root: Make, partition: Any
) -> None:
    half = member("standby-1")
    del half.published["backup-host-key"]  # type: ignore[attr-defined]
    given = answers(1, standby_1=half)
    assert root(given)["backup-1"]["role"] == "pull"
    del given["main"]
    assert roles(root(given)) == {"main": "main", "standby-1": "standby", "backup-1": "waiting"}
    assert partition.requests.waiting[0] == "tree: child 'main' has not published 'url' yet"


def test_a_takeover_changes_who_is_what(root: Make, partition: Any) -> None:
    over = member("standby-1", "2026-11-23T10:30:00Z", "g", "main")
    told = root(answers(2, standby_1=over), 2)
    assert roles(told) == {
        "main": "superseded",
        "standby-1": "main",
        "standby-2": "standby",
        "backup-1": "pull",
        "backup-2": "pull-and-push",
    }
    assert (told["main"]["main"], told["main"]["since"]) == ("standby-1", "2026-11-23T10:30:00Z")
    assert told["standby-2"]["since"] == "2026-11-23T10:30:00Z"
    assert {told[f"backup-{number}"]["pull-host"] for number in (1, 2)} == {"host of standby-1"}
    assert partition.published.values == {"url": "http://standby-1/", "main": "standby-1"}


def test_who_was_lost_and_made_anew_is_a_standby_instance_of_who_took_its_place(root: Make) -> None:
    last = member("standby-2", "2026-11-24T10:30:00Z", "g", "standby-1")
    assert roles(root(answers(2, standby_2=last), 2)) == {
        "main": "superseded",
        "standby-1": "standby",
        "standby-2": "main",
        "backup-1": "pull-and-push",
        "backup-2": "pull",
    }


def test_who_serves_stays_when_fewer_standbys_are_wanted_and_who_was_lost_can_go(root: Make) -> None:
    over = member("standby-2", "2026-11-23T10:30:00Z", "g", "main")
    given = answers(2, standby_2=over)
    assert roles(root(given, 0)) == {"main": "superseded", "standby-2": "main"}
    assert roles(root(given, 2, "main standby-1")) == {"standby-2": "main", "backup-1": "pull", "backup-2": "pull"}
    again = {"standby-3": member("standby-3", "2026-11-24T10:30:00Z", "g", "standby-2")}
    assert roles(root(again, 1, "main standby-1 standby-2")) == {"standby-3": "main", "backup-1": "pull"}


@pytest.mark.parametrize(
    ("dismissed", "problem"),
    [
        ("main", "main is the main instance. Leave it out, or let a standby instance take over first."),
        ("backup-1", "'backup-1' is no name of one. Write it like main, or like standby-1."),
    ],
)
def test_who_can_t_be_dismissed_is_said(partition: Any, dismissed: str, problem: str) -> None:
    partition.parameters = {"standbys": 1, "dismissed": dismissed}
    assert partition.run(ROOT).error == f"[tree] dismissed: {problem}"


@pytest.mark.parametrize("count", [-1, 101])
def test_a_strange_count_is_an_error(partition: Any, count: int) -> None:
    partition.parameters = {"standbys": count, "dismissed": ""}
    assert partition.run(ROOT).error == f"[tree] standbys: {count} is not from 0 to 100. Write how many you want."


def test_an_unknown_option_is_an_error(partition: Any) -> None:
    partition.parameters = {"standbys": 1, "dismissed": ""}
    assert "[tree] colour: unknown option." in partition.run(ROOT.replace("sla-node", "colour")).error


def test_a_secret_parameter_goes_on_as_one(partition: Any) -> None:
    partition.parameters = {"standbys": 0, "dismissed": "", "key": Secret("hush")}
    partition.answers = answers(0)
    assert partition.run(ROOT).outcome == "done"
    assert partition.requests.requests[0].parameters["key"] == Secret("hush")


@pytest.mark.parametrize(
    ("takeovers", "dismissed", "expected"),
    [
        ({}, (), "main"),
        ({"a": ("1", "main")}, (), "main a"),
        ({"a": ("2", "main"), "b": ("1", "main")}, (), "main b"),
        ({"a": ("2", "main"), "b": ("1", "main")}, ("main",), "main b"),
        ({"a": ("3", "main"), "b": ("2", "x")}, ("main", "x"), "main b"),
        ({"a": ("1", "main"), "b": ("2", "a"), "c": ("3", "b")}, (), "main a b c"),
        ({"b": ("2", "a")}, (), "main b"),
        ({"b": ("2", "")}, (), "main"),
        ({"b": ("2", "a")}, ("main", "a"), "main b"),
        ({"a": ("1", "a"), "main": ("1", "main")}, (), "main"),
    ],
)
def test_who_follows_whom(takeovers: dict[str, tuple[str, str]], dismissed: tuple[str, ...], expected: str) -> None:
    found = {name: Takeover(moment, "", before) for name, (moment, before) in takeovers.items()}
    assert " ".join(line(found, dismissed)) == expected


NAMES = st.sampled_from(["main", "a", "b", "c", ""])


@given(st.dictionaries(NAMES, st.builds(Takeover, st.text(), st.text(), NAMES)), st.sets(NAMES))
def test_whatever_is_told_somebody_is_the_main_one(takeovers: dict[str, Takeover], dismissed: set[str]) -> None:
    found = line(takeovers, dismissed)
    assert found[0] == "main"
    assert len(set(found)) == len(found)
    assert not dismissed & set(found[1:])


def role(make_recipe: Make, given: Any, **options: str) -> Any:
    parts = {"parts-main": "export publish", "parts-standby": "import", "parts-superseded": ""}
    text = given if isinstance(given, str) else json.dumps(given)
    return make_recipe(backup_role.Recipe, {"given": text, **parts, **options})


def test_a_role_has_its_parts_and_passes_on_what_is_told(make_recipe: Make) -> None:
    made = role(make_recipe, {"role": "main", "main": "main", "pull-host": "a"})
    told = [made.raw[option] for option in ("role", "parts", "main", "since", "backup-keys", "pull-host")]
    assert told == ["main", "part export publish", "main", "", "", "a"]
    assert made.install() == [] == made.update()


def test_who_has_taken_over_is_a_main_one_unless_the_tree_says_that_another_is(
    make_recipe: Make, tmp_path: Path
) -> None:
    assert role(make_recipe, {"role": "standby"}).raw["role"] == "standby"
    takeover.write(tmp_path / "srv/takeover.json", Takeover("2026-11-23T10:30:00Z", "g", "main"))
    made = role(make_recipe, {"role": "standby"})
    names = ("role", "parts", "is-taken-over", "moment", "generation", "predecessor")
    told = [made.raw[option] for option in names]
    assert told == ["main", "part export publish", "true", "2026-11-23T10:30:00Z", "g", "main"]
    assert role(make_recipe, {"role": "superseded"}).raw["role"] == "superseded"
    assert role(make_recipe, {"role": "standby"}, **{"takeover-file": "other"}).raw["is-taken-over"] == "false"


def test_one_whose_place_was_taken_is_red_and_says_who_took_it(make_recipe: Make) -> None:
    made = role(make_recipe, {"role": "superseded", "main": "standby-1", "since": "2026-11-23T10:30:00Z"})
    assert made.raw["parts"] == "part"
    (path,) = made.install()
    command = json.loads(path.read_text())["options"]["command"]
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    text = (
        "standby-1 has taken over at 2026-11-23T10:30:00Z: this instance does nothing; dismiss it, or undo the takeover"
    )
    assert (done.returncode, done.stdout) == (1, f"{text}\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x", r"^\[part\] given: is not JSON"),
        ({}, r"^\[part\] parts-: is missing for the role that is given\. .*main"),
        ({"role": "mein"}, r"^\[part\] parts-mein: is missing for the role that is given\. .*main"),
        ({"role": "main", "parts": "x"}, r"^\[part\] given: 'parts' is not what backup.tree gives\."),
        ({"role": "main", "Main": "x"}, r"^\[part\] given: 'Main' is not what backup.tree gives\."),
        ({"role": "main", "main": 1}, r"^\[part\] given: 'main' is not what backup.tree gives\."),
    ],
)  # fmt: skip
def test_what_no_tree_gives_is_an_error(make_recipe: Make, given: Any, message: str) -> None:
    with pytest.raises(AllotmentError, match=message):
        role(make_recipe, given)
