# SPDX-License-Identifier: Apache-2.0
"""Reports: what a node has observed, and what follows from it: children, answers to parents, places given back."""

import re

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedState
from allotment.messages.instance import ChildRequest, InstanceRequests, InstanceState
from allotment.messages.service import ServiceRequest
from allotment.secret import mark
from allotment_master.db import instances, manifests, places, supplies
from allotment_master.db.instances import Instance
from allotment_master.db.nodes import Node
from allotment_master.db.tokens import NAME
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import InvalidError
from allotment_master.requests import check, refuse_doomed, update
from allotment_master.trees import Rules, ask_again, destroy, house, settle

_IDENTIFIER = re.compile(r"inst-([1-9][0-9]{0,8})")
_DEEP = 8  # levels of a tree
_MANY = 100  # children of one instance
_MOST = 2 * _MANY  # requests of one report that are looked at
_LONGEST = 500  # characters of why a child was refused
_LATEST = 2**31 - 2  # generation that a node can have seen: one more still fits into the database


def observe(transaction: Transaction, rules: Rules, node: Node, report: ObservedState) -> None:
    """Take in a node's report; what it says of instances that it does not have is passed over."""
    connection = transaction.connection
    transaction.see(node.id)
    for software in sorted(report.software, key=lambda item: item.manifest):
        supplies.observe(transaction, node, software)
    named = {_number(item): item for item in report.instances}
    mine = instances.on_node(connection, node.id, filter(None, named))
    instances.lock_roots(transaction, (instance.root_id for instance in mine.values()))
    freed = set()
    for number, instance in instances.on_node(connection, node.id, mine).items():
        seen = named[number]
        is_here = instance.place is not None and instance.place.partition == seen.partition
        if is_here and _observe_instance(transaction, rules, instance, seen):
            freed.add(instance.root_id)
    ask_again(transaction, rules, sorted(freed))  # what is gone may have stood in the way of a child of its name
    for root in sorted({instance.root_id for instance in mine.values()} - freed):
        settle(transaction, rules, root)
    if freed:
        house(transaction, rules)


def _number(seen: ObservedInstance) -> int:
    match = _IDENTIFIER.fullmatch(seen.instance)
    return int(match[1]) if match else 0


def _observe_instance(transaction: Transaction, rules: Rules, instance: Instance, seen: ObservedInstance) -> bool:
    """Take in what a node says of one instance; return whether its place became free."""
    if seen.status is InstanceStatus.DESTROYED and instance.wanted.state is InstanceState.DESTROYED:
        places.release(transaction, instance)
        instances.end(transaction, instance)
        return True
    if not 0 <= seen.generation <= _LATEST:
        raise InvalidError(f"{seen.instance} has no generation {seen.generation}", "Report one that was sent")
    if instance.place is not None and seen.generation > instance.place.generation:
        places.outrun(transaction, instance, seen.generation)
        return False
    if seen.generation < instance.observed_generation:
        return False  # it was overtaken by a later report, which must not be undone
    manifest = manifests.get(transaction.connection, instance.wanted.manifest).manifest
    kind = manifest.software_type(instance.wanted.software_type)
    published = instance.published
    if seen.published is not None:
        published = mark(seen.published.values, kind.published if kind else {})
    refused = instance.refused_children
    if seen.requests is not None:
        refused = _request_children(transaction, rules, instance, seen.requests)
    errors = (seen.error, *(seen.published.errors if seen.published else ()))
    _record(transaction, instance, seen, published != instance.published)
    instances.set_observed(
        transaction,
        instance,
        status=seen.status.value,
        observed_generation=seen.generation,
        error=" ".join(filter(None, errors)),
        refused_children=refused,
        promises=seen.promises,
        **({} if published is None else {"published": published}),
    )
    return False


def _record(transaction: Transaction, instance: Instance, seen: ObservedInstance, has_published: bool) -> None:
    subject = f"instance/{instance.path}"
    if (seen.status, seen.error) != (instance.status, instance.error):
        failed = {item.name: item.message for item in seen.promises if item.status != "passed"}
        data = {"status": seen.status, "error": seen.error, "promises": failed, "generation": seen.generation}
        transaction.record("instance.status", subject, data)
    if has_published:
        transaction.record(
            "instance.published", subject, {"names": sorted(seen.published.values if seen.published else ())}
        )


def _request_children(transaction: Transaction, rules: Rules, parent: Instance, asked: InstanceRequests) -> str:
    """Make a parent's children be what it asks for; return why some could not be, an empty text when all could.

    One child's mistake stops no other. Only a complete list takes children away.
    """
    if parent.wanted.state is InstanceState.DESTROYED:
        return ""
    tree = instances.tree(transaction.connection, parent.root_id)
    children = {member.name: member for member in tree if member.parent_id == parent.id}
    refused = []
    for request in asked.requests[:_MOST]:  # bounded: all other changes of a SQLite master wait meanwhile
        try:
            new = _request_child(transaction, rules, parent, children.get(request.name), request, len(children))
        except AllotmentError as error:
            refused.append(f"Child '{request.name[:63]}': {str(error)[:_LONGEST]}")
        else:
            children.update({new.name: new} if new else {})
    if len(asked.requests) > _MOST:
        refused.append(f"Of {len(asked.requests)} children the first {_MOST} were looked at. Ask for fewer.")
    if asked.complete:
        wanted = {request.name for request in asked.requests}
        for name, child in children.items():
            if name not in wanted:
                destroy(transaction, tree, child)
    return " ".join(refused)


def _request_child(
    transaction: Transaction,
    rules: Rules,
    parent: Instance,
    found: Instance | None,
    asked: ChildRequest,
    siblings: int,
) -> Instance | None:
    """Make one child what is asked; return it when it is new."""
    if not NAME.fullmatch(asked.name):
        raise InvalidError("this is no instance's name", "Use up to 63 letters, digits, '.', '_' and '-'")
    if asked.shared:
        raise InvalidError("it is asked for as a shared instance, which this master does not offer", "Ask without")
    kin = manifests.get(transaction.connection, parent.wanted.manifest).manifest
    service = ServiceRequest(asked.release, asked.software_type, asked.parameters, asked.state, asked.sla)
    if found is not None and asked.state is InstanceState.DESTROYED:
        destroy(transaction, instances.tree(transaction.connection, parent.root_id), found)
    elif found is not None:
        refuse_doomed(found)
        update(transaction, rules, found, service, kin)
    elif asked.state is not InstanceState.DESTROYED:
        if siblings >= _MANY or parent.path.count("/") + 1 >= _DEEP:
            raise InvalidError(f"a tree has up to {_DEEP} levels and {_MANY} children each", "Ask for fewer")
        wanted = check(transaction, rules, service, None, kin)
        return instances.insert_new(transaction, f"{parent.path}/{asked.name}", wanted, parent)
    return None
