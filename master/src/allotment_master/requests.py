# SPDX-License-Identifier: Apache-2.0
"""Requests: what a customer, or a parent instance, wants of an instance; idempotent by name."""

from dataclasses import replace

from allotment.messages.instance import InstanceState
from allotment.messages.manifest import ReleaseManifest
from allotment.messages.service import InstanceInfo, ServiceRequest
from allotment.parameters import accepted
from allotment_master.db import instances, manifests, places
from allotment_master.db.instances import Instance, Wanted
from allotment_master.db.tokens import NAME
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import ConflictError, InvalidError, NotFoundError
from allotment_master.trees import Rules, destroy, settle


def request(transaction: Transaction, rules: Rules, name: str, asked: ServiceRequest) -> InstanceInfo:
    """Make the root instance ``name`` be what is asked; asked again, only what differs is changed."""
    if not NAME.fullmatch(name):
        raise InvalidError(f"{name!r} is no instance's name", "Use up to 63 letters, digits, '.', '_' and '-'")
    connection = transaction.connection
    found = instances.living(connection, name)
    if found is None and asked.state is InstanceState.DESTROYED:
        raise NotFoundError(f"no instance is called '{name}'", "There is nothing to destroy")
    if found is not None:
        instances.lock_roots(transaction, [found.root_id])
        found = instances.living(connection, name)
    if found is None:
        wanted = check(transaction, rules, asked, None)
        found = instances.insert_new(transaction, name, wanted)
    elif asked.state is InstanceState.DESTROYED:
        destroy(transaction, instances.tree(connection, found.root_id), found)
    else:
        update(transaction, rules, found, asked)
    settle(transaction, rules, found.root_id)
    return _current(transaction, found)


def set_state(transaction: Transaction, rules: Rules, name: str, state: InstanceState) -> InstanceInfo:
    """Start, stop or destroy a root instance."""
    connection = transaction.connection
    found = instances.named(connection, name)
    instances.lock_roots(transaction, [found.root_id])
    found = instances.named(connection, name)
    if found.ended is not None:
        if state is InstanceState.DESTROYED:
            return found.info
        raise NotFoundError(f"instance '{name}' is destroyed", "Request a new one")
    if found.parent_id is not None:
        raise ConflictError(f"'{name}' belongs to its parent", "Change the parent: it says what its children are")
    if state is InstanceState.DESTROYED:
        destroy(transaction, instances.tree(connection, found.root_id), found)
    else:
        refuse_doomed(found)
        instances.change_wanted(transaction, found, replace(found.wanted, state=state))
    settle(transaction, rules, found.root_id)
    return _current(transaction, found)


def check(
    transaction: Transaction,
    rules: Rules,
    asked: ServiceRequest,
    found: Instance | None,
    kin: ReleaseManifest | None = None,
) -> Wanted:
    """Return what is asked with its release found and its parameters accepted by the release's schema.

    ``kin`` is the manifest of the parent: a child of the same release gets the same manifest.
    """
    rules.terms.check(asked.sla)
    node = found.place.node_id if found is not None and found.place is not None else None
    if kin is not None and kin.name == asked.release:
        manifest = kin
    else:
        manifest = manifests.resolve_supplied(transaction.connection, asked.release, node)
    values = accepted(manifest, asked.software_type, asked.parameters)
    return Wanted(asked.release, manifest.sha256, asked.software_type, asked.state, values, asked.sla)


def update(
    transaction: Transaction,
    rules: Rules,
    found: Instance,
    asked: ServiceRequest,
    kin: ReleaseManifest | None = None,
) -> None:
    """Change what is wanted of an instance that exists; it stays where it is, or the change is refused."""
    refuse_doomed(found)
    wanted = check(transaction, rules, asked, found, kin)
    if found.place is not None and wanted != found.wanted:
        connection = transaction.connection
        failed = places.suits(connection, rules.terms, found.place.node_id, wanted.sla)
        if failed:
            raise ConflictError(
                f"'{found.path}' is on {found.place.node}, which is not {failed}",
                "Leave the constraint as it was, or destroy the instance and request it anew",
            )
        if wanted.manifest != found.wanted.manifest and not places.has_supply(
            connection, found.place.node_id, wanted.manifest
        ):
            raise ConflictError(
                f"release {wanted.manifest} is not supplied on {found.place.node}, where '{found.path}' is",
                "Supply it there first",
            )
    instances.change_wanted(transaction, found, wanted)


def refuse_doomed(found: Instance) -> None:
    """Refuse to change what is being destroyed."""
    if found.wanted.state is InstanceState.DESTROYED:
        raise ConflictError(f"'{found.path}' is being destroyed", "Wait until it is gone, or take another name")


def _current(transaction: Transaction, instance: Instance) -> InstanceInfo:
    return instances.named(transaction.connection, instance.path).info
