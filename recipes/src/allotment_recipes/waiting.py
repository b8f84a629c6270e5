# SPDX-License-Identifier: Apache-2.0
"""Waiting is no error: what a recipe raises while the answer of a child is not there yet."""


class Waiting(Exception):
    """Raised by a recipe's constructor; the part, and each section that refers to it, waits. The rest is processed."""
