# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment.schemas`` writes the committed JSON schemas; run it after changing a message."""

import click

from allotment.schemas import write

for name in write():
    click.echo(f"wrote {name}")
