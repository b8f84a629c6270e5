# SPDX-License-Identifier: Apache-2.0
"""The master without its HTTP: what each call of the API does, from any thread."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from allotment.blobs import BlobStore
from allotment.hookspecs import AllocationTerm
from allotment.messages.desired_state import NodeDesiredState, ObservedState, SupplyState
from allotment.messages.event import Event
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import SignedManifest
from allotment.messages.service import InstanceInfo, NodeRegistration, ServiceRequest, SupplyInfo, SupplyRequest
from allotment.parameters import check_schemas
from allotment.secret import Secret
from allotment_master import reports, requests, trees
from allotment_master.db import events, identity, instances, manifests, nodes, places, supplies, tokens
from allotment_master.db.places import Terms
from allotment_master.db.transaction import Transaction, change
from allotment_master.kit.database import Database
from allotment_master.kit.errors import ConflictError, InvalidError
from allotment_master.kit.identity import Identity
from allotment_master.kit.wakeup import Wakeup
from allotment_master.trees import Rules

T = TypeVar("T")
_SEEN = 10.0  # seconds between two notes that a polling node lives
_PARTITIONS = 10_000  # of one node


class Master:
    """One of any number of masters of a database; keeps nothing in memory that another would miss."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        terms: Sequence[AllocationTerm],
        clock: Callable[[], float] = time.time,
        wakeup: Wakeup | None = None,
    ) -> None:
        """``folder`` keeps the blobs. The database's tables are brought up to date."""
        database.upgrade("allotment_master")
        self.database = database
        self.blobs = BlobStore(folder / "blobs")
        self.wakeup = wakeup or Wakeup()
        self.clock = clock
        self._rules = Rules(Terms(terms), "")
        self._rules = Rules(Terms(terms), self.change(identity.issuer))

    def change(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction and wake who waits for what it did."""
        return change(self.database, self.wakeup, work, self.clock)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query."""
        with self.database.read() as connection:
            return query(connection)

    # tokens

    def identify(self, token: Secret) -> Identity | None:
        """Return whose token it is."""
        return self.read(lambda connection: tokens.identify(connection, token))

    def ensure_token(self, scope: str, token: Secret) -> None:
        """Make a given token valid."""
        caller = tokens.parse_scope(scope)
        self.change(lambda transaction: tokens.add(transaction, caller, token))

    def create_token(self, scope: str) -> Secret:
        """Make a token of a scope."""
        caller = tokens.parse_scope(scope)

        def work(transaction: Transaction) -> Secret:
            if caller.role == "node":
                nodes.by_name(transaction.connection, caller.subject)
            return tokens.create(transaction, caller)

        return self.change(work)

    # nodes

    def register(self, wanted: NodeRegistration, caller: Identity) -> Secret:
        """Make a node known and return its token; only an admin may do it again, which ends the node's older tokens."""
        _check_registration(wanted)

        def work(transaction: Transaction) -> Secret:
            known = nodes.find(transaction.connection, wanted.name)
            if known is not None and caller.role != "admin":
                raise ConflictError(f"node '{wanted.name}' is registered", "Take another name, or ask an admin")
            node = nodes.register(transaction, wanted)
            trees.house(transaction, self._rules)
            bearer = Identity("node", node.name)
            tokens.revoke_of(transaction, bearer)
            return tokens.create(transaction, bearer)

        return self.change(work)

    def desired(self, name: str, since: int) -> NodeDesiredState | None:
        """Return what is wanted of a node, None when that is what it was at ``since``."""
        with self.database.read() as connection:
            node = nodes.by_name(connection, name)
            return None if node.sequence == since else places.desired(connection, node)

    def see(self, name: str) -> None:
        """Note that a node has called, now and then; and look again for places, in case a change missed one."""
        node = self.read(lambda connection: nodes.by_name(connection, name))
        if node.seen is not None and self.clock() - node.seen < _SEEN:
            return

        def work(transaction: Transaction) -> None:
            transaction.see(node.id)
            trees.house(transaction, self._rules)

        self.change(work)

    def observe(self, name: str, report: ObservedState) -> None:
        """Take in a node's report."""
        self.change(
            lambda transaction: reports.observe(
                transaction, self._rules, nodes.by_name(transaction.connection, name), report
            )
        )

    # releases

    def add_manifest(self, signed: SignedManifest) -> None:
        """Store a release whose closure is there."""
        manifest = signed.manifest
        if not tokens.NAME.fullmatch(manifest.name):
            raise InvalidError(f"{manifest.name!r} is no release's name", "Use letters, digits, '.', '_' and '-'")
        check_schemas(manifest)
        if manifest.closure.sha256 not in self.blobs:
            raise ConflictError(f"blob {manifest.closure.sha256} is not here", "Upload the release's closure first")
        self.change(lambda transaction: manifests.add(transaction, signed))

    def supply(self, asked: SupplyRequest) -> SupplyInfo:
        """Offer a release on a node, or take it away."""

        def work(transaction: Transaction) -> SupplyInfo:
            connection = transaction.connection
            node = nodes.by_name(connection, asked.node)
            manifest = manifests.resolve(connection, asked.release)
            is_proven = asked.development or manifests.get(connection, manifest.sha256).signatures
            if asked.state is SupplyState.AVAILABLE and not is_proven:
                raise InvalidError(
                    f"release {manifest.name} {manifest.sha256} is not signed",
                    "Let the farm prove it, or supply it as development to a node that allows this",
                )
            is_new = supplies.put(transaction, node, manifest.sha256, asked.state, asked.development)
            if is_new and asked.state is SupplyState.AVAILABLE:
                refusing = instances.refusing_trees(connection)
                instances.lock_roots(transaction, refusing)
                trees.ask_again(transaction, self._rules, refusing)
            trees.house(transaction, self._rules)
            return supplies.get(connection, node.id, manifest.sha256)

        return self.change(work)

    # instances

    def request(self, name: str, asked: ServiceRequest) -> InstanceInfo:
        """Make a root instance be what is asked."""
        return self.change(lambda transaction: requests.request(transaction, self._rules, name, asked))

    def set_state(self, name: str, state: InstanceState) -> InstanceInfo:
        """Start, stop or destroy a root instance."""
        return self.change(lambda transaction: requests.set_state(transaction, self._rules, name, state))

    def instance(self, name: str) -> InstanceInfo:
        """Return an instance."""
        return self.read(lambda connection: instances.named(connection, name).info)

    def events(self, since: int, limit: int) -> list[Event] | None:
        """Return events after ``since``, None when there are none."""
        return self.read(lambda connection: events.after(connection, since, limit)) or None

    def last_event(self) -> int:
        """Return the id of the newest event."""
        return self.read(events.last_id)


def _check_registration(wanted: NodeRegistration) -> None:
    if not tokens.NAME.fullmatch(wanted.name):
        raise InvalidError(f"{wanted.name!r} is no node's name", "Use up to 63 letters, digits, '.', '_' and '-'")
    if not 0 <= wanted.partitions <= _PARTITIONS:
        raise InvalidError(f"{wanted.partitions} partitions are not possible", f"Lend 0 to {_PARTITIONS}")
    if len(wanted.labels) > 100 or any(len(key) > 63 or len(value) > 255 for key, value in wanted.labels.items()):
        raise InvalidError("the labels are too many or too long", "Use up to 100, keys to 63 and values to 255")
