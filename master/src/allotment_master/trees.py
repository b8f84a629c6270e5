# SPDX-License-Identifier: Apache-2.0
"""Instance trees brought in line with what is wanted of them: places taken and given back, documents written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from allotment.messages.desired_state import DesiredState
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment_master.db import instances, places
from allotment_master.db.instances import Instance
from allotment_master.db.places import Terms
from allotment_master.db.transaction import Transaction

_AT_ONCE = 20  # waiting trees that one change tries to house; the next one goes on


@dataclass(frozen=True)
class Rules:
    """What the same change needs on every master of a database."""

    terms: Terms
    issuer: str


def settle(transaction: Transaction, rules: Rules, root: int) -> None:
    """Give every instance of a tree a place or a reason, and its place the document that is right now.

    The caller has locked the tree. A stopped parent stops its children; destroying was passed on when it was asked.
    """
    members = instances.tree(transaction.connection, root)
    homeless = [member for member in members if member.place is None]
    for member in homeless:
        if member.wanted.state is InstanceState.DESTROYED:
            instances.end(transaction, member)
        elif places.take(transaction, rules.terms, member):
            instances.set_no_place(transaction, member, "")
        else:
            wanted = member.wanted
            reason = places.why_none(transaction.connection, rules.terms, wanted.manifest, wanted.sla)
            instances.set_no_place(transaction, member, reason)
    if homeless:
        members = instances.tree(transaction.connection, root)
    states = _states(members)
    for member in members:
        places.write_document(transaction, member, _document(member, members, states, rules.issuer))


def destroy(transaction: Transaction, tree: list[Instance], top: Instance) -> None:
    """Want ``top`` and all below it destroyed; there is no way back from it."""
    doomed = {top.id}
    for member in tree:
        if member.parent_id in doomed:
            doomed.add(member.id)
        if member.id in doomed:
            instances.change_wanted(transaction, member, replace(member.wanted, state=InstanceState.DESTROYED))


def house(transaction: Transaction, rules: Rules) -> None:
    """Try again for instances that wait for a place: after a partition, a supply or a node has come."""
    for root in instances.homeless_trees(transaction, _AT_ONCE):
        settle(transaction, rules, root)


def ask_again(transaction: Transaction, rules: Rules, roots: Iterable[int]) -> None:
    """Have instances whose children were refused ask for them again: what stood against these may be gone.

    The caller has locked the trees.
    """
    for root in roots:
        for member in instances.tree(transaction.connection, root):
            if member.refused_children and member.wanted.state is not InstanceState.DESTROYED:
                places.renew(transaction, member)
        settle(transaction, rules, root)


def _states(members: list[Instance]) -> Mapping[int, InstanceState]:
    """Return what each is to be, its ancestors considered."""
    states: dict[int, InstanceState] = {}
    for member in members:  # parents come first
        above = states.get(member.parent_id) if member.parent_id is not None else None
        stopped = above is InstanceState.STOPPED and member.wanted.state is InstanceState.STARTED
        states[member.id] = InstanceState.STOPPED if stopped else member.wanted.state
    return states


def _document(
    member: Instance, members: list[Instance], states: Mapping[int, InstanceState], issuer: str
) -> DesiredState:
    root, _, _ = member.path.partition("/")
    answers = {
        child.name: ChildAnswer(states[child.id], child.published, child.identifier)
        for child in members
        if child.parent_id == member.id and child.published is not None
    }
    return DesiredState(
        partition=member.place.partition if member.place else "",
        generation=0,  # the place counts
        issuer=issuer,
        instance=member.identifier,
        name=member.name,
        tree=root,
        manifest=member.wanted.manifest,
        software_type=member.wanted.software_type,
        state=states[member.id],
        parameters=member.wanted.parameters,
        answers=answers,
    )
