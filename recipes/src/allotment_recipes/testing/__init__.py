# SPDX-License-Identifier: Apache-2.0
"""The kit for those who write recipes: real runs of the driver in a temporary folder, in milliseconds.

In a project's ``conftest.py``::

    pytest_plugins = ["allotment_recipes.testing.fixtures"]

pytest is not brought along by the recipes: whoever tests has it. What the fixtures give is documented in their classes.
"""

from allotment_recipes.testing.fake_sources import FakeSource, FakeSources, archive
from allotment_recipes.testing.local_engine import LocalEngine
from allotment_recipes.testing.partition import Partition, given_instance
from allotment_recipes.testing.release import Release
from allotment_recipes.testing.trees import Tree, stamps, tree
from allotment_recipes.testing.upstream import Upstream

__all__ = [
    "FakeSource",
    "FakeSources",
    "LocalEngine",
    "Partition",
    "Release",
    "Tree",
    "Upstream",
    "archive",
    "given_instance",
    "stamps",
    "tree",
]
