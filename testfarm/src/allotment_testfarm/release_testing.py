# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin ``allotment_release``: a release's own tests against live instances of it.

It is inactive unless ``ALLOTMENT_MASTER`` is set, as ``allot release test`` and the farm's jobs do. Then tests have
the fixtures of ``release_fixtures``: ``master``, ``request_instance`` and ``default_instance``.
"""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Bring the fixtures, and what they import, only where they are of use."""
    if os.environ.get("ALLOTMENT_MASTER"):
        from allotment_testfarm import release_fixtures

        config.pluginmanager.register(release_fixtures, "allotment_release_fixtures")
