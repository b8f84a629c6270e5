# SPDX-License-Identifier: Apache-2.0
"""Stores of built parts as a whole: several of them, what keeps a part, and what removes, checks and counts parts."""

from allotment_recipes.stores.lookup import find, lower_roots
from allotment_recipes.stores.roots import register, registrations, settle

__all__ = ["find", "lower_roots", "register", "registrations", "settle"]
