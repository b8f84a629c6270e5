# SPDX-License-Identifier: Apache-2.0
"""The kit as its users have it: with its own engine."""

from allotment_recipes.testing.fixtures import engine

__all__ = ["engine"]
