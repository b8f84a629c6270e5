# SPDX-License-Identifier: Apache-2.0
"""``allot store verify``, ``why`` and ``du``: what they find, and how they say it."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.stores.keeping import Graph
from allotment_recipes.stores.roots import releases
from allotment_recipes.stores.usage import disk_usage, usage
from allotment_recipes.stores.verify import repair, verify


def store(yard: Any, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "allotment", "store", *words, "--store", str(yard.place / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 or not done.stderr else done.stderr


def damage(path: Path, text: str) -> None:
    path.chmod(0o600)
    path.write_text(text)
    path.chmod(0o555)


def test_each_damaged_file_is_named_and_repair_removes_its_part(yard: Any) -> None:
    lib, app = yard.part("lib"), yard.part("app")
    yard.release("one", lib, app)
    assert store(yard, "verify") == "2 parts verified, 0 damaged, 0 removed\n"
    damage(lib / "bin/run", "#!/bin/false\n")
    lib.chmod(0o755)
    (lib / "more").write_text("")
    lib.chmod(0o555)
    shown = [f"{lib.name} is damaged", "  bin/run has other bytes", "  more is not of the part"]
    ended = "2 parts verified, 1 damaged, 0 removed"
    assert store(yard, "verify", code=1).splitlines() == [*shown, ended]
    document = json.loads(store(yard, "verify", "--repair", "--json"))
    assert document["damaged"] == {lib.name: ["bin/run has other bytes", "more is not of the part"]}
    assert document["removed"] == [lib.name]
    assert yard.names == ["app"]
    assert yard.part("lib") == lib, "it is built anew"
    assert json.loads(store(yard, "verify", "--json"))["damaged"] == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "the record of its files is missing or damaged"),
        ('{"entries":{},"format":1}', "the record of its files was changed"),
    ],
)
def test_a_record_that_is_damaged_itself_is_said(yard: Any, text: str, problem: str) -> None:
    app = yard.part("app")
    (yard.root / ".sums" / f"{app.name}.json").write_text(text)
    (found,) = verify(yard.root)
    assert (found.name, found.problems) == (app.name, (problem,))


def test_a_part_of_which_nothing_is_recorded_is_said_not_to_be_verified(yard: Any) -> None:
    app = yard.part("app", note=False)
    (yard.root / ".sums" / f"{app.name}.json").unlink()
    shown = store(yard, "verify").splitlines()
    assert shown[0] == f"{app.name} was built before files were recorded: not verified"
    assert json.loads(store(yard, "verify", "--json"))["unrecorded"] == [app.name]


def test_repair_leaves_what_somebody_builds(yard: Any) -> None:
    app = yard.part("app")
    with (yard.root / ".lock" / app.name).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert repair(yard.root, [app.name]) == []
    assert yard.names == ["app"]


def test_a_killed_collection_is_no_obstacle_to_repair(yard: Any) -> None:
    app = yard.part("app")
    app.rename(yard.root / f".{app.name}.gone")
    assert yard.part("app") == app, "it was built anew since"
    assert repair(yard.root, [app.name]) == [app.name]
    assert list(yard.root.glob(f"*{app.name}*")) == []


def test_what_a_collection_takes_meanwhile_is_no_damage(yard: Any) -> None:
    first, second = yard.part("a"), yard.part("b")
    found = verify(yard.root)
    assert next(found).name == first.name
    second.rename(yard.root / f".{second.name}.gone")
    assert list(found) == []
    assert repair(yard.root, [second.name]) == []


def test_what_a_part_refers_to_is_not_known_while_a_collection_takes_it_and_known_when_it_is_back(yard: Any) -> None:
    lib = yard.part("lib")
    app = yard.part("app", lib)
    graph = Graph([yard.root])
    app.rename(yard.root / f".{app.name}.gone")
    (yard.root / f".built/{app.name}.json").unlink()
    assert graph.references(app) == ()
    assert yard.part("app", lib) == app
    graph.look_again()
    assert graph.references(app) == (lib,)


def test_why_lists_every_root_and_the_way_to_the_part(yard: Any) -> None:
    lib = yard.part("lib")
    middle = yard.part("middle", lib)
    app, other = yard.part("app", middle), yard.part("other", lib)
    one, two = yard.release("one", app, middle, lib), yard.release("two", other)
    shown = store(yard, "why", "lib").splitlines()
    assert shown[0] == lib.name
    assert f"    {app.name} -> {middle.name} -> {lib.name}" == shown[shown.index(f"  release {one}") + 1]
    assert f"    {other.name} -> {lib.name}" == shown[shown.index(f"  release {two}") + 1]
    (part,) = json.loads(store(yard, "why", str(lib), "--json"))["parts"]
    ways = {Path(root["name"]).name: root["chain"] for root in part["roots"] if root["kind"] == "release"}
    assert ways == {"one": [str(app), str(middle), str(lib)], "two": [str(other), str(lib)]}


def test_why_takes_a_path_as_a_shell_completes_it(yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lib = yard.part("lib")
    monkeypatch.chdir(yard.place)
    assert store(yard, "why", f"{lib.relative_to(yard.place)}/").splitlines()[0] == lib.name


def test_why_says_when_nothing_keeps_a_part_and_which_parts_there_are(yard: Any) -> None:
    old = yard.part("old")
    yard.release("one")
    assert store(yard, "why", "old").splitlines() == [old.name, "  nothing keeps it: 'allot store gc' removes it"]
    error = store(yard, "why", "odl", code=1)
    assert error == "error: no part 'odl' is in the store. Did you mean 'old'? Valid: old.\n"


def test_parts_that_refer_to_each_other_are_kept_and_explained(yard: Any) -> None:
    a = yard.part("a", declared=[f"b-1-{b'b'.hex():0>32}"])
    b = yard.part("b", a)
    yard.release("one", a, b)
    graph = Graph([yard.root])
    keepers = [(yard.root, root) for root in releases(yard.root)]
    assert [kept.chain for kept in graph.reasons(b, keepers)] == [(b,)]


def test_du_counts_what_a_release_takes_alone_and_what_it_shares(yard: Any) -> None:
    lib = yard.part("lib")
    app, other, old = yard.part("app", lib), yard.part("other", lib), yard.part("old")
    one, two = yard.release("one", app, lib), yard.release("two", other, lib)
    found = usage([yard.root])
    size = {part: disk_usage([part]) for part in (lib, app, other, old)}
    assert {part.name: (part.bytes, part.releases) for part in found.parts} == {
        lib.name: (size[lib], 2),
        app.name: (size[app], 1),
        other.name: (size[other], 1),
        old.name: (size[old], 0),
    }
    assert [(item.folder, item.parts, item.unique, item.shared) for item in found.releases] == [
        (str(one), 2, size[app], size[lib]),
        (str(two), 2, size[other], size[lib]),
    ]
    assert found.unneeded == size[old]
    document = json.loads(store(yard, "du", "--json"))
    assert (document["bytes"], document["unneeded"]) == (found.bytes, found.unneeded)
    assert store(yard, "du").splitlines()[0].split() == ["part", "on", "disk", "releases"]


def test_a_file_with_two_names_takes_its_bytes_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(50_000))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert 50_000 <= disk_usage([tmp_path / "a", tmp_path / "b"]) < 100_000


@pytest.mark.parametrize("words", [("gc",), ("verify",), ("du",), ("why", "lib")])
def test_a_folder_that_holds_no_store_is_an_error(short_path: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "allotment", "store", *words, "--store", str(short_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == (
        f"error: {short_path}/none holds no store. Give the folder that builds were given as --store.\n"
    )
