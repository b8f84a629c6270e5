# SPDX-License-Identifier: Apache-2.0
"""Who calls: an interface, one way to obtain an identity (bearer tokens), and what an end point demands of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from allotment.secret import Secret
from allotment_master.kit.errors import ForbiddenError, UnauthorizedError

NOBODY = "anonymous"


@dataclass(frozen=True)
class Identity:
    """A caller: what it may do, and for a node which one it is."""

    role: str  # such as "admin", "user", "node", "farm"
    subject: str = ""  # a node's name


class Identities(Protocol):
    """Knows callers by their tokens; others, such as client certificates, come in here."""

    def identify(self, token: Secret) -> Identity | None:
        """Return whose token it is, None when it is nobody's. Called in a worker thread, may use the database."""


def bearer_token(request: Request) -> Secret | None:
    """Return the token of the Authorization header, None when there is none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return Secret(value.strip()) if scheme.lower() == "bearer" and value.strip() else None


def requires(*roles: str) -> Callable[[Request], Identity]:
    """Return a dependency that lets only these roles in; ``app.state.identities`` is the :class:`Identities`.

    Where the address has ``{node}``, a caller with the role ``node`` is let in as that very node only.
    """

    def check(request: Request) -> Identity:
        identities: Identities = request.app.state.identities
        token = bearer_token(request)
        identity = identities.identify(token) if token else None
        if identity is None:
            what = "the token is not known here" if token else "a token is needed"
            raise UnauthorizedError(what, "Send a valid one as 'Authorization: Bearer TOKEN'")
        if identity.role not in roles:
            raise ForbiddenError(
                f"a token of scope '{identity.role}' may not do this", f"Use one of: {', '.join(roles)}"
            )
        if identity.role == "node" and request.path_params.get("node", identity.subject) != identity.subject:
            raise ForbiddenError(
                f"this is the token of node '{identity.subject}'", "Use the token of the node you name"
            )
        return identity

    check.roles = roles  # type: ignore[attr-defined]  # the table of permissions in the docs is checked against it
    return check


def caller(*roles: str) -> type[Identity]:
    """Return the annotation of a handler's parameter that receives the identity, for these roles only."""
    return Annotated[Identity, Depends(requires(*roles))]  # type: ignore[return-value]
