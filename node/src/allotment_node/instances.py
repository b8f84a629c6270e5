# SPDX-License-Identifier: Apache-2.0
"""Processing a partition: from its desired-state document to running services."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from allotment.codec import Json
from allotment.errors import AllotmentError
from allotment.messages.desired_state import DesiredState, InstanceStatus, ObservedInstance, SoftwareStatus
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceRequests, InstanceState
from allotment.messages.manifest import SoftwareType
from allotment.parameters import accepted, software_type
from allotment.secret import find, mark, scrub
from allotment_node.addresses import AddressBlock
from allotment_node.asking import AskLimit
from allotment_node.documents import Documents
from allotment_node.folder import NodeFolder
from allotment_node.logs import scrub_file, with_tail
from allotment_node.observations import Observations
from allotment_node.partition import Partition, Processed, input_hash
from allotment_node.rounds import Rounds
from allotment_node.software import Software
from allotment_node.supervisor import Supervisor, read_services

if TYPE_CHECKING:
    from pathlib import Path

    from allotment_recipes.engine import InstanceResult

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """How a partition's recipes are run; see :class:`allotment_recipes.engine.BuildEngine`."""

    def __call__(self, software: "Path", partition: "Path", profile: str, log: "Path") -> "InstanceResult": ...


@dataclasses.dataclass(frozen=True)
class Pass:
    """What a pass over one partition has come to, for the agent to plan from."""

    failed: bool = False  # try again after a delay
    deployed: bool = False  # it was processed and is started: check its promises now
    running: bool = False  # it is started: watch its promises
    wanted: str = ""  # the manifest that must be installed first


class Instances:
    """Processes partitions; :meth:`process` may be called from any thread, for one partition at a time by itself."""

    def __init__(
        self,
        folder: NodeFolder,
        node: str,
        documents: Documents,
        observations: Observations,
        software: Software,
        supervisor: Supervisor,
        addresses: AddressBlock,
        engine: Engine,
        rounds: Rounds,
        stopping: Callable[[], bool] = lambda: False,
        changing: Callable[[str], None] = lambda name: None,  # called before a partition is processed
    ) -> None:
        self._folder = folder
        self._node = node
        self._documents = documents
        self._observations = observations
        self._software = software
        self._supervisor = supervisor
        self._addresses = addresses
        self._engine = engine
        self._rounds = rounds
        self._stopping = stopping
        self._changing = changing
        self._asks = AskLimit()  # of instances that ask,
        self._bangs = AskLimit()  # and of their promises, apart: those that break for ever delay no takeover
        self._banged: set[str] = set()  # partitions that are to be processed because of broken promises
        self._records: dict[str, Processed | None] = {}
        self._locks: dict[str, threading.Lock] = {}

    def process(self, name: str) -> Pass:
        """Bring one partition to what its document says; returns at once when it is there."""
        with self._locks.setdefault(name, threading.Lock()):
            document = self._documents.get(name)
            if document is None:
                return Pass()
            partition = Partition(self._folder, name)
            if document.state is InstanceState.DESTROYED:
                return self._destroy(partition, document)
            return self._converge(partition, document)

    def asking(self) -> list[str]:
        """Return the partitions whose instances ask to be processed again, and may be now."""
        used = (item for item in self._documents.partitions() if item.state is not InstanceState.DESTROYED)
        found = (Partition(self._folder, item.partition) for item in used)
        return [partition.name for partition in found if self._asking(partition, partition.asked())]

    def ask(self, name: str) -> bool:
        """Have the next :meth:`process` of a partition run its recipes; False: it was asked for too recently."""
        if not self._bangs.may(name):
            return False
        self._banged.add(name)
        return True

    def _converge(self, partition: Partition, document: DesiredState) -> Pass:
        addresses = (self._addresses.address(partition.name),)
        inputs = input_hash(document, addresses)
        asked = partition.asked()
        asking = self._asking(partition, asked)
        running = document.state is InstanceState.STARTED
        if self._is_unchanged(partition, document, inputs) and not asking:
            self._acknowledge(document)
            return Pass(running=running)
        self._changing(partition.name)
        if document.state is InstanceState.STOPPED:
            self._supervisor.remove(partition.name)
        if self._software.installed(document.manifest) is None:
            self._await_software(document)
            return Pass(wanted=document.manifest)
        self._banged.discard(partition.name)
        for limit in asking:
            limit.note(partition.name)
        try:
            outcome = self._run(partition, document, addresses)
        except (AllotmentError, OSError) as error:  # OSError: the disk is full, for example
            if self._stopping():  # broken off by us: neither a failure nor processed
                return Pass()
            secrets = find(document.parameters) | find(document.answers)
            text = scrub(str(error), secrets)
            self._observe(document, InstanceStatus.FAILED, text)
            self._record(partition, Processed(inputs, "failed", asked))
            _log.warning("%s (%s) failed: %s", partition.name, document.name, text.partition("\n")[0])
            return Pass(failed=True)
        self._record(partition, Processed(inputs, outcome, asked))
        _log.info("%s (%s) generation %d: %s", partition.name, document.name, document.generation, outcome)
        done = running and outcome == "done"
        return Pass(deployed=done, running=running)

    def _is_unchanged(self, partition: Partition, document: DesiredState, inputs: str) -> bool:
        record = self._last(partition)
        if record is None or record.inputs != inputs or record.outcome == "failed":
            return False
        seen = self._observations.instance(partition.name)
        return seen is not None and seen.instance == document.instance

    def _asking(self, partition: Partition, asked: str) -> list[AskLimit]:
        """Return the limits of those who ask for more than was done last time, and may have it now."""
        record = self._last(partition)
        if record is None:
            return []
        is_new = {self._asks: asked not in ("", record.asked), self._bangs: partition.name in self._banged}
        return [limit for limit, asks in is_new.items() if asks and limit.may(partition.name)]

    def _last(self, partition: Partition) -> Processed | None:
        if partition.name not in self._records:  # read meanwhile by the thread that looks who asks, perhaps
            self._records.setdefault(partition.name, partition.processed())
        return self._records[partition.name]

    def _acknowledge(self, document: DesiredState) -> None:
        """Report the new generation of a document whose content is what it was."""
        seen = self._observations.instance(document.partition)
        if seen is not None and seen.generation != document.generation:
            self._observations.put_instance(dataclasses.replace(seen, generation=document.generation))

    def _await_software(self, document: DesiredState) -> None:
        seen = self._observations.software(document.manifest)
        if seen is not None and seen.status is SoftwareStatus.FAILED:
            self._observe(document, InstanceStatus.FAILED, f"its release is not installed: {seen.error}")
        else:
            self._observe(document, InstanceStatus.PROCESSING, "")

    def _run(self, partition: Partition, document: DesiredState, addresses: tuple[str, ...]) -> str:
        """Run the recipes, start the services; return the outcome. An error is an AllotmentError."""
        found = self._software.installed(document.manifest)
        assert found is not None
        folder, manifest = found
        kind = software_type(manifest, document.software_type)
        parameters = accepted(manifest, document.software_type, document.parameters)
        if self._rounds.is_exhausted(document):
            self._observe(document, InstanceStatus.FAILED, self._oscillation(document))
            return "oscillating"
        seen = self._observations.instance(partition.name)
        if seen is None or seen.generation != document.generation or seen.status is not InstanceStatus.FAILED:
            self._observe(document, InstanceStatus.PROCESSING, "")
        partition.write_input(self._input(document, parameters, addresses))
        result = self._engine(folder, partition.path, kind.profile, partition.log)
        secrets = find(parameters) | find(document.answers) | find([item.parameters for item in document.shared])
        scrub_file(partition.log, secrets)  # now: what is read next may be an error
        requests, published = partition.read_requests(), partition.read_published()
        if published is not None:
            published = _marked(published, kind)
            secrets |= find(published.values) | find(published.shared)  # such as a password that it has made itself
            scrub_file(partition.log, secrets)
        if result.outcome == "failed":
            self._keep_requests(document, requests)
            raise AllotmentError(with_tail(result.error or "its recipes failed", partition.log, secrets))
        if self._rounds.note(document, requests):
            self._observe(document, InstanceStatus.FAILED, self._oscillation(document))
            return "oscillating"
        if document.state is InstanceState.STARTED:
            self._supervisor.apply(partition.name, read_services(partition.path))
        self._conclude(document, result.outcome, requests, published)
        return result.outcome

    def _conclude(
        self,
        document: DesiredState,
        outcome: str,
        requests: InstanceRequests | None,
        published: InstancePublished | None,
    ) -> None:
        if outcome == "waiting":
            status = InstanceStatus.WAITING
        elif document.state is InstanceState.STARTED:
            status = InstanceStatus.PROCESSING  # until its promises are kept
        else:
            status = InstanceStatus.STOPPED
        complete = outcome == "done"
        listed = self._merged(document, requests, complete)
        error = "\n".join(listed.waiting) if listed else ""
        self._observe(document, status, error, requests=listed, published=published, fresh=complete)

    def _keep_requests(self, document: DesiredState, requests: InstanceRequests | None) -> None:
        """Note the children that a failed run has asked for so far; it takes none away."""
        merged = self._merged(document, requests, False)
        seen = self._observations.instance(document.partition)
        if merged is not None and seen is not None and seen.requests != merged:
            self._observations.put_instance(dataclasses.replace(seen, requests=merged))

    def _merged(
        self, document: DesiredState, found: InstanceRequests | None, complete: bool
    ) -> InstanceRequests | None:
        """Return what an instance asks for: only a complete run may drop children, a partial one may only add."""
        seen = self._observations.instance(document.partition)
        earlier = seen.requests if seen is not None and seen.instance == document.instance else None
        if complete:
            return found if found is not None else InstanceRequests(True)
        if found is None:
            return None if earlier is None else dataclasses.replace(earlier, complete=False)
        listed = {item.name: item for item in (*(earlier.requests if earlier else ()), *found.requests)}
        return InstanceRequests(False, tuple(listed.values()), found.waiting)

    def _input(
        self, document: DesiredState, parameters: Mapping[str, Json], addresses: tuple[str, ...]
    ) -> InstanceInput:
        return InstanceInput(
            instance=document.instance,
            name=document.name,
            tree=document.tree,
            node=self._node,
            partition=document.partition,
            state=document.state,
            software_type=document.software_type,
            manifest=document.manifest,
            addresses=addresses,
            parameters=parameters,
            shared=document.shared,
            answers=document.answers,
        )

    def _observe(
        self,
        document: DesiredState,
        status: InstanceStatus,
        error: str,
        *,
        requests: InstanceRequests | None = None,
        published: InstancePublished | None = None,
        fresh: bool = False,
    ) -> None:
        """Note a state; unless ``fresh``, what is not known anew stays as it was of the same instance."""
        seen = self._observations.instance(document.partition)
        if seen is not None and seen.instance == document.instance and not fresh:
            requests = requests or seen.requests
            published = published or seen.published
        promises = seen.promises if seen is not None and seen.instance == document.instance else ()
        self._observations.put_instance(
            ObservedInstance(
                partition=document.partition,
                instance=document.instance,
                generation=document.generation,
                status=status,
                error=error,
                requests=requests,
                published=published,
                promises=promises if status is not InstanceStatus.STOPPED else (),
            )
        )

    def _oscillation(self, document: DesiredState) -> str:
        seen = self._observations.instance(document.partition)
        names = [item.name for item in seen.requests.requests] if seen and seen.requests else []
        return str(
            AllotmentError(
                f"{document.name} ({document.partition}): its requests changed in {self._rounds.limit} rounds in a row"
                f" and do not settle; children: {', '.join(names) or 'none'}",
                "Do not make what is asked of a child depend on that child's own answer",
            )
        )

    def _record(self, partition: Partition, processed: Processed) -> None:
        partition.record(processed)
        self._records[partition.name] = processed

    def _destroy(self, partition: Partition, document: DesiredState) -> Pass:
        """End the services and remove everything but another's; the partition is free once the master knows."""
        seen = self._observations.instance(partition.name)
        gone = seen is not None and seen.status is InstanceStatus.DESTROYED and seen.instance == document.instance
        if other := partition.other_occupant(document.instance):
            _log.warning("%s holds %s, which was never destroyed: it stays", partition.name, other)
        elif not gone or partition.path.exists():
            self._supervisor.remove(partition.name)
            partition.wipe()
            self._records[partition.name] = None
            self._rounds.forget(partition.name)
            self._asks.forget(partition.name)
            self._bangs.forget(partition.name)
            self._banged.discard(partition.name)
            _log.info("%s (%s) is destroyed", partition.name, document.name)
        self._documents.bury(document)  # before the master may know: nothing secret is left then
        self._observations.put_instance(
            ObservedInstance(partition.name, document.instance, document.generation, InstanceStatus.DESTROYED)
        )
        return Pass()


def _marked(published: InstancePublished, kind: SoftwareType) -> InstancePublished:
    """Wrap the published values that the schema calls secret."""
    shared: dict[str, Mapping[str, Json]] = {
        name: mark(values, kind.published) for name, values in published.shared.items()
    }
    return dataclasses.replace(published, values=mark(published.values, kind.published), shared=shared)
