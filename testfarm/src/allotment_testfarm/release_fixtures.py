# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests in ``software/<name>/test``: real instances of the release, on the master of the job."""

import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from allotment.client import MasterClient
from allotment.codec import Json
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.messages.service import InstanceInfo
from allotment.secret import Secret, find, mark
from allotment_testfarm.jobs import hide
from allotment_testfarm.testnode.embedded import wait_green

_GONE_SECONDS = 60.0  # until all instances that the tests asked for must be destroyed
_numbers = itertools.count(1)


class RequestInstance(Protocol):
    """The fixture ``request_instance``."""

    def __call__(
        self,
        name: str | None = None,
        software_type: str = DEFAULT_TYPE,
        parameters: Mapping[str, Json] | None = None,
        timeout: float = 60.0,
    ) -> InstanceInfo:
        """Request an instance and return it once it is green; fails the test when it is not within ``timeout`` s."""


@pytest.fixture(scope="session")
def master() -> Iterator[MasterClient]:
    """The master that the release is deployed by, with every right."""
    token = Secret(Path(os.environ["ALLOTMENT_TOKEN_FILE"]).read_text().strip())
    with MasterClient(os.environ["ALLOTMENT_MASTER"], token) as client:
        yield client


@pytest.fixture(scope="session")
def default_instance(master: MasterClient) -> InstanceInfo:
    """A green instance of the default type with default parameters, shared by all tests: leave it as it is."""
    return wait_green(master, os.environ["ALLOTMENT_DEFAULT_INSTANCE"], 60.0)


@pytest.fixture(scope="session")
def _destroyed(master: MasterClient) -> Iterator[list[str]]:
    """Names of instances that were destroyed; at the end, all of them must be gone."""
    names: list[str] = []
    yield names
    deadline = time.monotonic() + _GONE_SECONDS
    for name in names:
        while (info := master.instance(name)).status != InstanceStatus.DESTROYED:
            assert time.monotonic() < deadline, f"{name} is still {info.status}: {info.error}"
            time.sleep(0.05)


@pytest.fixture
def request_instance(
    request: pytest.FixtureRequest, master: MasterClient, _destroyed: list[str]
) -> Iterator[RequestInstance]:
    """Request instances of the release; each has a name of its own and is destroyed when the test ends."""
    requested: list[str] = []

    def ask(
        name: str | None = None,
        software_type: str = DEFAULT_TYPE,
        parameters: Mapping[str, Json] | None = None,
        timeout: float = 60.0,
    ) -> InstanceInfo:
        full = unique_name(name or request.node.name)
        _hide(master, software_type, parameters or {})
        requested.append(full)
        master.request(full, os.environ["ALLOTMENT_RELEASE"], software_type, parameters or {})
        return wait_green(master, full, timeout)

    yield ask
    for name in requested:
        master.destroy(name)
        _destroyed.append(name)


def unique_name(text: str) -> str:
    """Return a name for an instance that no other test of any worker uses."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-") or "test"
    return f"{slug}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{next(_numbers)}"


def _hide(master: MasterClient, software_type: str, parameters: Mapping[str, Json]) -> None:
    """Keep what the release's schema calls secret out of the log that is shown."""
    path = os.environ.get("ALLOTMENT_SECRETS_FILE")
    if path:
        types = master.get_manifest(os.environ["ALLOTMENT_RELEASE"]).manifest.software_types
        schema = types[software_type].parameters if software_type in types else {}
        hide(Path(path), find(mark(parameters, schema)))
