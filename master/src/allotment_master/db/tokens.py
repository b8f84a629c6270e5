# SPDX-License-Identifier: Apache-2.0
"""Tokens: opaque, kept as their sha256 only, each with a scope."""

import hashlib
import re
import secrets

from sqlalchemy import Connection, delete, insert, select

from allotment.errors import nearest
from allotment.secret import Secret
from allotment_master.db.schema import tokens
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import InvalidError
from allotment_master.kit.identity import Identity

ROLES = ("admin", "user", "farm", "enrol")  # and "node:<name>"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # of nodes and instances


def parse_scope(scope: str) -> Identity:
    """Return what a token of ``scope`` makes of its bearer."""
    role, separator, subject = scope.partition(":")
    if role == "node" and NAME.fullmatch(subject):
        return Identity(role, subject)
    if role in ROLES and not separator:
        return Identity(role)
    raise InvalidError(f"{scope!r} is no scope", nearest(scope, (*ROLES, "node:NAME")))


def create(transaction: Transaction, identity: Identity) -> Secret:
    """Make a token and return it; nobody can ask for it again."""
    token = Secret(secrets.token_urlsafe(32))
    add(transaction, identity, token)
    return token


def add(transaction: Transaction, identity: Identity, token: Secret) -> None:
    """Make a given token valid; without effect when it is."""
    if identify(transaction.connection, token) is None:
        values = {"role": identity.role, "subject": identity.subject, "created": transaction.now}
        transaction.connection.execute(insert(tokens).values(digest=_digest(token), **values))
        transaction.record("token.created", f"token/{_digest(token)[:12]}", {"role": identity.role})


def revoke_of(transaction: Transaction, identity: Identity) -> None:
    """Make all tokens of an identity invalid."""
    same = (tokens.c.role == identity.role) & (tokens.c.subject == identity.subject)
    transaction.connection.execute(delete(tokens).where(same))


def identify(connection: Connection, token: Secret) -> Identity | None:
    """Return whose token it is, None when it is nobody's."""
    query = select(tokens.c.role, tokens.c.subject).where(tokens.c.digest == _digest(token))
    row = connection.execute(query).one_or_none()
    return None if row is None else Identity(row.role, row.subject)


def _digest(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogateescape")).hexdigest()
