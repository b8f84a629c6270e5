# SPDX-License-Identifier: Apache-2.0
"""A way to write modules of SlapOS into a partition, and to run them as the node does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from allotment_promises.launcher import Launcher, PromiseResult

BASE = """
from zope.interface import implementer
from slapos.grid.promise import interface
from slapos.grid.promise.generic import AnomalyResult, EmptyResult, GenericPromise, TestResult

@implementer(interface.IPromise)
class RunPromise(GenericPromise):
"""


@pytest.fixture
def module(partition: Path) -> Callable[..., Path]:
    """Write a module: the body of its class, and what stands before and after."""

    def write(name: str, body: str, before: str = "", after: str = "", base: str = BASE) -> Path:
        path = partition / "etc/plugin" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        indented = "".join(f"  {line}\n" for line in body.strip("\n").splitlines())
        path.write_text(f"{before}{base}{indented}{after}\n")
        return path

    return write


@pytest.fixture
def run(launcher: Launcher, partition: Path) -> Callable[..., dict[str, PromiseResult]]:
    """Run all promises of the partition; return the results by name."""

    def now(mode: str = "test") -> dict[str, PromiseResult]:
        return {result.name: result for result in launcher.run(partition, mode)}  # type: ignore[arg-type]

    return now
