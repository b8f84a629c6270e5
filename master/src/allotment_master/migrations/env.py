# SPDX-License-Identifier: Apache-2.0
"""Alembic reads this to run the steps in ``versions/``."""

from allotment_master.kit.database import migrate

migrate()
