# SPDX-License-Identifier: Apache-2.0
"""Who the masters of this database are: the issuer of the documents that they write."""

import secrets

from sqlalchemy import insert, select

from allotment_master.db.schema import identity
from allotment_master.db.transaction import Transaction


def issuer(transaction: Transaction) -> str:
    """Return the issuer's name, made at the first start."""
    found = transaction.connection.execute(select(identity.c.issuer)).scalar()
    if found is not None:
        return str(found)
    made = f"master-{secrets.token_hex(8)}"
    transaction.connection.execute(insert(identity).values(issuer=made))
    return made
