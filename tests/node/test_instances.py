# SPDX-License-Identifier: Apache-2.0
"""The reconcile loop of a partition, with a real supervisord and stand-ins for recipes, promises and the master."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.messages.desired_state import InstanceStatus, SoftwareStatus, Supply
from allotment.messages.instance import (
    ChildAnswer,
    ChildRequest,
    InstancePublished,
    InstanceRequests,
    InstanceState,
)
from allotment.messages.manifest import ReleaseManifest
from allotment.secret import Secret
from allotment_node.partition import OUTPUT_DEPTH, OUTPUT_LIMIT
from allotment_recipes.engine import InstanceResult
from allotment_recipes.signing import SigningKey

Make = Callable[..., Any]


def settled(agent: Any) -> None:
    assert agent.run_once(("software", "partition"), 30.0)


def test_an_instance_becomes_green(
    make_agent: Make,
    master: Any,
    engines: Any,
    document: Make,
    manifest: Any,
    until: Make,
    write_service: Make,
    tell: Make,
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        write_service(folder)
        tell(folder, InstanceRequests(True), InstancePublished({"url": f"http://{given['addresses'][0]}:80"}))

    engines.recipes = recipes
    engines.promises["part0"] = {"listens": ("passed", "it does")}
    agent = make_agent()
    agent.start()
    master.set(document(), supplies=(Supply(manifest.sha256),))
    found = until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.GREEN and last)
    assert found.generation == 1
    assert found.published.values["url"].startswith("http://127.")
    assert [(item.name, item.status) for item in found.promises] == [("listens", "passed")]
    assert master.last_software(manifest.sha256).status is SoftwareStatus.AVAILABLE
    assert [item.name for item in agent.supervisor.states()] == ["sleeper"]
    assert (agent._folder.partition("part0") / ".allotment" / "instance.json").stat().st_mode & 0o777 == 0o600


def test_unchanged_inputs_are_not_processed_again(make_agent: Make, master: Any, engines: Any, document: Make) -> None:
    master.set(document())
    settled(make_agent())
    settled(make_agent())
    assert engines.runs == ["part0"]
    master.set(document(generation=2))
    settled(make_agent())
    assert engines.runs == ["part0"]
    assert master.last("part0").generation == 2
    master.set(document(generation=3, parameters={"n": 2}))
    settled(make_agent())
    assert engines.runs == ["part0", "part0"]


def test_a_failure_is_reported_with_the_end_of_its_log_and_tried_again(
    make_agent: Make, master: Any, engines: Any, document: Make
) -> None:
    engines.recipes = lambda folder, given: InstanceResult("failed", "[conf] port: missing option.", (), 0.0)
    master.set(document())
    settled(make_agent())
    seen = master.last("part0")
    assert seen.status is InstanceStatus.FAILED
    assert seen.error == "[conf] port: missing option.\npart0.log ends with:\nprocessing with {}."
    engines.recipes = lambda folder, given: None
    settled(make_agent())
    assert engines.runs == ["part0", "part0"]


def test_a_waiting_part_is_no_error(make_agent: Make, master: Any, engines: Any, document: Make, tell: Make) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> InstanceResult | None:
        waiting = () if given["answers"] else ("front: the answer of 'db'",)
        tell(folder, InstanceRequests(not waiting, (ChildRequest("db", "postgres"),), waiting))
        return InstanceResult("waiting", "", waiting, 0.0) if waiting else None

    engines.recipes = recipes
    master.set(document())
    settled(make_agent())
    seen = master.last("part0")
    assert (seen.status, seen.error) == (InstanceStatus.WAITING, "front: the answer of 'db'")
    assert [item.name for item in seen.requests.requests] == ["db"]
    settled(make_agent())
    assert engines.runs == ["part0"]  # the same answers: waiting on costs nothing
    master.set(document(generation=2, answers={"db": ChildAnswer(InstanceState.STARTED, {"url": "x"})}))
    settled(make_agent())
    assert master.last("part0").status is InstanceStatus.PROCESSING  # green once its promises were looked at


def test_an_instance_is_not_green_before_its_new_generation_is_processed(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make, tell: Make
) -> None:
    agent = make_agent()

    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        agent.watch.check("part0")  # the promises of before are due in the middle of it
        tell(folder, InstanceRequests(True), InstancePublished({"n": given["parameters"].get("n", 1)}))

    engines.recipes = recipes
    agent.start()
    for generation in (1, 2, 3):
        master.set(document(generation=generation, parameters={"n": generation}))
        until(lambda at=generation: (last := master.last("part0")) and
              (last.generation, last.status) == (at, InstanceStatus.GREEN))  # fmt: skip
    greens = {
        (item.generation, item.published and item.published.values["n"])
        for report in master.reports
        for item in report.instances
        if item.status is InstanceStatus.GREEN
    }
    assert greens == {(1, 1), (2, 2), (3, 3)}


@pytest.mark.parametrize("outcome", ["waiting", "failed"])
def test_a_partial_run_takes_no_child_away(
    make_agent: Make, master: Any, engines: Any, document: Make, tell: Make, outcome: str
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> InstanceResult | None:
        if given["parameters"]["n"] == 1:
            tell(folder, InstanceRequests(True, (ChildRequest("a", "r"), ChildRequest("b", "r"))))
            return None
        if given["parameters"]["n"] == 2:
            tell(folder, InstanceRequests(False, (ChildRequest("b", "other"), ChildRequest("c", "r")), ("x: y",)))
            return InstanceResult(outcome, "" if outcome == "waiting" else "broken", ("x: y",), 0.0)  # type: ignore[arg-type]
        tell(folder, InstanceRequests(True, (ChildRequest("c", "r"),)))
        return None

    engines.recipes = recipes
    for generation, expected in ((1, ["a", "b"]), (2, ["a", "b", "c"]), (3, ["c"])):
        master.set(document(generation=generation, parameters={"n": generation}))
        settled(make_agent())
        requests = master.last("part0").requests
        assert [item.name for item in requests.requests] == expected
        assert requests.complete == (generation != 2)


def test_oscillation_ends_with_a_clear_message(
    make_agent: Make, master: Any, engines: Any, document: Make, tell: Make, until: Make
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        answers = given["answers"].get("db", {}).get("published", {})
        tell(folder, InstanceRequests(True, (ChildRequest("db", "r", parameters={"n": answers.get("n", 0) + 1}),)))

    engines.recipes = recipes
    agent = make_agent()
    agent.start()
    generation = 1
    master.set(document())
    while generation < 40:  # the master passes each new request on and gives back what it has made of it
        seen = until(lambda at=generation: (last := master.last("part0")) and last.generation == at and
                     last.status in (InstanceStatus.GREEN, InstanceStatus.FAILED) and last)  # fmt: skip
        if seen.status is InstanceStatus.FAILED:
            break
        generation += 1
        asked = seen.requests.requests[0].parameters["n"]
        master.set(document(generation=generation, answers={"db": ChildAnswer(InstanceState.STARTED, {"n": asked})}))
    assert seen.error == (
        "hello (part0): its requests changed in 12 rounds in a row and do not settle; children: db. "
        "Do not make what is asked of a child depend on that child's own answer."
    )
    assert len(engines.runs) == 14
    master.set(document(generation=generation + 1, answers={"db": ChildAnswer(InstanceState.STARTED, {"n": 99})}))
    until(lambda: master.last("part0").generation == generation + 1)
    assert master.last("part0").status is InstanceStatus.FAILED
    assert len(engines.runs) == 14
    engines.recipes = lambda folder, given: None
    master.set(document(generation=generation + 2, parameters={"n": 1}))  # people change something: a new start
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)


def with_schema(manifest: ReleaseManifest, schema: Any) -> ReleaseManifest:
    kind = dataclasses.replace(manifest.software_types["default"], parameters=schema)
    return dataclasses.replace(manifest, software_types={"default": kind})


def planted_link(folder: Path, given: Mapping[str, Any]) -> None:
    (folder / "secret").write_bytes(dumps(InstancePublished({"stolen": "x"})))
    (folder / ".allotment" / "published.json").symlink_to(folder / "secret")


def oversize(folder: Path, given: Mapping[str, Any]) -> None:
    (folder / ".allotment" / "published.json").write_bytes(b" " * (OUTPUT_LIMIT + 1))


def device(folder: Path, given: Mapping[str, Any]) -> None:
    os.mkfifo(folder / ".allotment" / "requests.json")


def deep(folder: Path, given: Mapping[str, Any]) -> None:
    text = '{"format": 1, "values": {"a": ' + "[" * 400 + "]" * 400 + "}}"
    (folder / ".allotment" / "published.json").write_text(text)


def linked_folder(folder: Path, given: Mapping[str, Any]) -> None:
    (folder / ".allotment").rename(folder / "elsewhere")
    (folder / ".allotment").symlink_to(folder / "elsewhere")


def garbage(folder: Path, given: Mapping[str, Any]) -> None:
    (folder / ".allotment" / "requests.json").write_bytes(b'{"format": 2}')


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        (planted_link, "published.json can't be read: Too many levels of symbolic links. It must be a regular file."),
        (oversize, f"published.json is larger than {OUTPUT_LIMIT} bytes. Make it smaller."),
        (deep, f"published.json is nested more than {OUTPUT_DEPTH} deep. Publish and request flatter values."),
        (device, "requests.json is not a regular file. Remove it."),
        (linked_folder, ".allotment is not a folder. Remove it."),
        (garbage, "requests.json: requests has format 2; allotment 0.1 reads format 1. "),
    ],
)
def test_outputs_that_no_recipe_writes_are_refused(
    make_agent: Make, master: Any, engines: Any, document: Make, recipes: Any, message: str
) -> None:
    engines.recipes = recipes
    master.set(document())
    settled(make_agent())
    seen = master.last("part0")
    assert seen.status is InstanceStatus.FAILED
    assert message in seen.error
    assert seen.published is None


def test_a_partition_in_which_another_instance_is_is_given_to_nobody(
    make_agent: Make, master: Any, engines: Any, document: Make
) -> None:
    deep: Any = 1
    for _ in range(OUTPUT_DEPTH):
        deep = [deep]
    master.set(document(parameters={"deep": deep}))
    settled(make_agent())
    master.set(document(generation=2, instance="inst-2", name="other"))  # as of a master restored from a backup
    for _ in range(2):
        settled(make_agent())
        seen = master.last("part0")
        assert (seen.instance, seen.status) == ("inst-2", InstanceStatus.FAILED)
        assert seen.error.startswith("part0 is wanted for inst-2, and inst-1 ('hello') is in it. Destroy the one ")
    assert engines.runs == ["part0"]
    master.set(document(generation=3, instance="inst-2", name="other", state=InstanceState.DESTROYED))
    agent = make_agent()
    settled(agent)
    assert master.last("part0").status is InstanceStatus.DESTROYED
    assert (agent._folder.partition("part0") / ".allotment" / "instance.json").exists()


def test_stopped_keeps_the_files_and_ends_the_services(
    make_agent: Make, master: Any, engines: Any, document: Make, write_service: Make, until: Make
) -> None:
    engines.recipes = lambda folder, given: write_service(folder) and None
    agent = make_agent()
    agent.start()
    master.set(document())
    until(lambda: agent.supervisor.states())
    master.set(document(generation=2, state=InstanceState.STOPPED))
    until(lambda: master.last("part0").status is InstanceStatus.STOPPED)
    assert agent.supervisor.states() == []
    assert (agent._folder.partition("part0") / "etc" / "service" / "sleeper").exists()
    master.set(document(generation=3))
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    assert agent.supervisor.states()


def test_destroyed_leaves_nothing_and_frees_the_partition(
    make_agent: Make,
    master: Any,
    engines: Any,
    document: Make,
    write_service: Make,
    until: Make,
    pids: Make,
    scratch: Path,
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        write_service(folder)
        (folder / "srv").mkdir(exist_ok=True)
        (folder / "srv" / "data").write_text("x")
        (folder / "srv").chmod(0o500)

    engines.recipes = recipes
    agent = make_agent()
    agent.start()
    secret = {"password": Secret("s3cr3t-planted")}
    master.set(document(parameters=secret))
    until(lambda: agent.supervisor.states())
    home = agent._folder.partition("part0")
    master.set(document(generation=2, state=InstanceState.DESTROYED, parameters=secret))
    until(lambda: master.last("part0").status is InstanceStatus.DESTROYED)
    assert not pids(home)
    left = [path for path in agent._folder.root.rglob("part0*") if path.is_file() or path == home]
    assert sorted(path.relative_to(agent._folder.root).as_posix() for path in left) == [
        "state/desired/part0.json",
        "state/observed/part0.json",
    ]
    assert not [path for path in scratch.rglob("*") if path.is_file() and b"s3cr3t-planted" in path.read_bytes()]
    master.set(document())  # an old one must not bring it back
    master.set(document(generation=3, instance="inst-2"))
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    assert master.last("part0").instance == "inst-2"


def test_secrets_are_in_no_output(
    make_agent: Make, master: Any, engines: Any, document: Make, scratch: Path, tell: Make,
    caplog: pytest.LogCaptureFixture, write_service: Make,
) -> None:  # fmt: skip
    planted = "s3cr3t-planted"

    def recipes(folder: Path, given: Mapping[str, Any]) -> InstanceResult | None:
        write_service(folder)
        if given["parameters"]["n"] == 1:
            return InstanceResult("failed", f"can't log in with {planted}", (), 0.0)
        tell(folder, published=InstancePublished({"password": planted}))
        return None

    engines.recipes = recipes
    for n in (1, 2):
        master.set(document(generation=n, parameters={"password": planted, "n": n}))
        settled(make_agent())
    agent = make_agent()
    allowed = {"state/desired/part0.json", "partitions/part0/.allotment/instance.json"}
    allowed |= {"partitions/part0/.allotment/published.json", "state/observed/part0.json"}
    found = {
        path.relative_to(agent._folder.root).as_posix()
        for path in agent._folder.root.rglob("*")
        if path.is_file() and planted.encode() in path.read_bytes()
    }
    assert found <= allowed
    for name in found:
        path = agent._folder.root / name
        assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
    assert planted not in caplog.text
    assert "can't log in with <secret>" in repr([item.instances for item in master.reports])
    assert master.last("part0").published.values["password"] == Secret(planted)


def test_a_secret_that_the_instance_has_made_is_in_no_error_or_log(
    make_agent: Make, master: Any, engines: Any, document: Make, tell: Make
) -> None:
    made = "m4de-by-itself"

    def recipes(folder: Path, given: Mapping[str, Any]) -> InstanceResult:
        tell(folder, published=InstancePublished({"password": made}))
        (folder.parent.parent / "log" / "part0.log").write_text(f"mysql -p{made}\n")
        return InstanceResult("failed", f"mysql -p{made} said \0", (), 0.0)

    engines.recipes = recipes
    master.set(document())
    agent = make_agent()
    settled(agent)
    assert master.last("part0").error == (
        "mysql -p<secret> said \N{REPLACEMENT CHARACTER}\npart0.log ends with:\nmysql -p<secret>."
    )
    assert made not in (agent._folder.logs / "part0.log").read_text()


def test_parameters_are_checked_against_the_schema(make_agent: Make, master: Any, engines: Any, document: Make) -> None:
    master.set(document(parameters={"n": "many"}))
    settled(make_agent())
    assert master.last("part0").error == (
        "release hello, type default: parameter n: 'many' is not of type 'integer'. Correct its value."
    )
    assert engines.runs == []


@pytest.mark.parametrize("password", [12345678, "abc"])
def test_a_secret_of_another_type_or_length_is_not_shown(
    make_agent: Make, master: Any, document: Make, manifest: ReleaseManifest, signing_key: SigningKey, password: Any
) -> None:
    schema = {"properties": {"password": {"type": "string", "minLength": 8, "writeOnly": True}}}
    strict = with_schema(manifest, schema)
    master.manifests[strict.sha256] = signing_key.sign(strict)
    master.set(document(manifest=strict.sha256, parameters={"password": password}))
    settled(make_agent())
    rule = "minLength" if password == "abc" else "type"
    assert f"parameter password: a secret breaks the rule '{rule}'." in master.last("part0").error


def test_a_schema_that_refers_to_elsewhere_is_not_followed(
    make_agent: Make, master: Any, document: Make, manifest: ReleaseManifest, signing_key: SigningKey
) -> None:
    strict = with_schema(manifest, {"$ref": "http://127.0.0.1:9/schema.json"})
    master.manifests[strict.sha256] = signing_key.sign(strict)
    master.set(document(manifest=strict.sha256))
    settled(make_agent())
    assert "the schema refers to http://127.0.0.1:9/schema.json, which is not in it." in master.last("part0").error


def test_a_secret_that_breaks_the_schema_is_not_shown(make_agent: Make, master: Any, document: Make) -> None:
    master.set(document(parameters={"n": Secret("s3cr3t-planted")}))
    settled(make_agent())
    assert "parameter n: a secret breaks the rule 'type'." in master.last("part0").error


def test_an_unknown_software_type_names_the_nearest(make_agent: Make, master: Any, document: Make) -> None:
    master.set(document(software_type="defualt"))
    settled(make_agent())
    assert master.last("part0").error == (
        "release hello has no software type 'defualt'. Did you mean 'default'? Valid: default."
    )


def test_two_partitions_have_different_addresses(make_agent: Make, master: Any, engines: Any, document: Make) -> None:
    seen: dict[str, list[str]] = {}
    engines.recipes = lambda folder, given: seen.update({given["partition"]: given["addresses"]})
    master.set(document(), document(partition="part1", instance="inst-2"))
    settled(make_agent())
    assert len({tuple(item) for item in seen.values()}) == 2
    settled(make_agent())
    again = json.loads((make_agent()._folder.state / "addresses.json").read_bytes())
    assert seen["part0"][0].startswith(again["block"])
