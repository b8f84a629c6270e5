# SPDX-License-Identifier: Apache-2.0
"""Run by Alembic."""

from allotment_master.kit.database import migrate

migrate()
