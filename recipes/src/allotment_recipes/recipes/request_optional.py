# SPDX-License-Identifier: Apache-2.0
"""Recipe ``request-optional``: ask for another instance, and go on without it."""

from allotment_recipes.recipes import request


class Recipe(request.Recipe):
    """Request a child as ``request`` does, but never wait: ``connection-<key>`` of ``return`` is empty meanwhile."""

    def _miss(self, keys: list[str]) -> None:
        for key in keys:
            self.publish_option(f"connection-{key}", "")
