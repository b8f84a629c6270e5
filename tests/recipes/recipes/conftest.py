# SPDX-License-Identifier: Apache-2.0
"""What the tests of instance recipes share: the input of an instance, made from the fields that matter."""

from collections.abc import Callable
from typing import Any

import pytest

from allotment.messages.instance import InstanceInput, InstanceState


@pytest.fixture
def given_instance() -> Callable[..., InstanceInput]:
    def make(**fields: Any) -> InstanceInput:
        defaults: dict[str, Any] = {
            "instance": "inst-1",
            "name": "shop",
            "tree": "root",
            "node": "node-1",
            "partition": "part0",
            "state": InstanceState.STARTED,
            "software_type": "default",
            "manifest": "f" * 64,
            "addresses": ("127.0.0.9", "127.0.1.9"),
        }
        return InstanceInput(**{**defaults, **fields})

    return make
