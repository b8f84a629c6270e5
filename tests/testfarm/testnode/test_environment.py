# SPDX-License-Identifier: Apache-2.0
"""What a test node says of itself: a job that ran with other versions proves nothing here."""

import platform
from importlib.metadata import version

from allotment.codec import dumps
from allotment_recipes.python_scripts import Recipe
from allotment_testfarm.engine.wire_server import MESSAGE
from allotment_testfarm.testnode.environment import environment
from allotment_testfarm.wire import NodeHello


def test_versions_of_all_that_is_installed_are_told() -> None:
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["zc-buildout"] == version("zc.buildout")
    assert found["recipe allotment.recipes:python.scripts"] == str(Recipe.build_version)
    assert platform.machine() in found["build platform"]


def test_what_is_installed_from_a_folder_is_told_with_its_hash() -> None:
    told, digest = environment()["allotment-recipes"].split()
    assert told == version("allotment.recipes")
    assert len(digest) == 16


def test_it_is_the_same_each_time_and_small_enough_for_a_hello() -> None:
    assert environment() == environment()
    assert len(dumps(NodeHello("n", "p", environment=environment()))) < MESSAGE / 4
