# SPDX-License-Identifier: Apache-2.0
"""Alembic migrations of the farm's database; never edited after a release."""
