# SPDX-License-Identifier: Apache-2.0
"""Run by Alembic: migrates through the connection that its caller holds."""

from alembic import context

from allotment_testfarm.db.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
