# SPDX-License-Identifier: Apache-2.0
"""The agent: everything of one node, put together."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.hookspecs import SupervisorType
from allotment.messages.desired_state import (
    InstanceStatus,
    ObservedInstance,
    ObservedSoftware,
    SoftwareStatus,
    Supply,
    SupplyState,
)
from allotment.messages.instance import InstanceState
from allotment.messages.silences import Silence
from allotment.plugins import load, plugins
from allotment_node import reruns
from allotment_node.addresses import AddressBlock
from allotment_node.backoff import Backoff
from allotment_node.config import NodeConfig, trusted_keys
from allotment_node.documents import Changes, Documents
from allotment_node.engines import Engines
from allotment_node.folder import NodeFolder
from allotment_node.instances import Instances
from allotment_node.masters import Masters, Poller, Reporter
from allotment_node.monitor.files import Monitor
from allotment_node.observations import Observations
from allotment_node.promises import PromiseWatch, Result
from allotment_node.rounds import Rounds
from allotment_node.schedule import Mode
from allotment_node.silences import Silences
from allotment_node.software import Software
from allotment_node.supervisor import ServiceStatus, Supervisor, SupervisorOptions
from allotment_node.work import Key, WorkQueue, are_settled

_WATCH_PERIOD: Final = 5.0  # seconds between two looks at the services, and at what instances ask for
_RESTART_PERIODS: Final = 12  # looks after which services that were given up get another try
_log = logging.getLogger(__name__)


class Agent:
    """One node. The folder's lock must be held; a context manager that stops what it has started."""

    def __init__(self, folder: NodeFolder, config: NodeConfig, masters: Masters, engines: Engines) -> None:
        folder.create()
        self._folder = folder
        self._config = config
        self._masters = masters
        self._engines = engines
        self._stop = threading.Event()
        self._looks = 0
        self._failures: dict[Key, Backoff] = {}
        self.documents = Documents(folder.desired, config.partition_names)
        self.observations = Observations(folder.observed)
        self.addresses = AddressBlock(folder.state / "addresses.json")
        self.supervisor = make_supervisor(folder, config)
        self.software = Software(
            folder,
            masters,
            engines.install,
            lambda: trusted_keys(config, folder.root),
            engines.verify,
            config.allow_development,
            map(Path, config.system_stores),
        )
        self.silences = Silences(folder.silences)
        self._silenced: list[Silence] = []  # as last heard of
        self.monitor = Monitor(
            folder.root / config.monitor_folder, config.name, config.masters[0], self._observed, self.silences.known
        )
        self.watch = PromiseWatch(
            folder.partition,
            self._launch,
            engines.timings,
            self.observations,
            config.settle,
            self._bang,
            silence=self.silences.told,
        )
        self.instances = Instances(
            folder,
            config.name,
            self.documents,
            self.observations,
            self.software,
            self.supervisor,
            self.addresses,
            engines.process,
            Rounds(),
            self._stop.is_set,
            self.watch.changing,
        )
        # Apart, so that a build of hours and a promise that hangs delay no change of an instance.
        # A thread for each partition, if all of them are slow: then none waits for another.
        watching = WorkQueue(self._handle, config.partitions + 1)
        self._queues = {
            "software": WorkQueue(self._handle, 2),
            "partition": WorkQueue(self._handle, config.workers),
            "promises": watching,
            "services": watching,
        }
        self.poller = Poller(masters, config.name, self.documents, self.plan, Backoff(0.5, 30.0))
        self.reporter = Reporter(masters, config.name, self.observations, Backoff(0.5, 30.0))

    def __enter__(self) -> "Agent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start services that should run, the worker threads, and the threads that speak with the masters."""
        self.supervisor.start()
        for queue in self._queues.values():
            queue.start()
        self.plan_all()
        self._put("services", "", _WATCH_PERIOD)
        for target in (self.poller.run, self.reporter.run):
            # Daemons: a long poll may take its time to notice that nobody waits for its answer any more.
            threading.Thread(target=target, args=(self._stop,), name=target.__qualname__, daemon=True).start()

    def run_once(self, kinds: tuple[str, ...], timeout: float) -> bool:
        """Do the work of ``kinds`` that there is, once, and report it; return False when ``timeout`` s were too few.

        Without a master the stored documents are worked from; reports are then sent by a later run.
        """
        self._ask_once("desired state", lambda: self.poller.once(0.0))
        self.supervisor.start()
        queues = [self._queues[kind] for kind in kinds]
        self.plan_all()
        for queue in queues:
            queue.start()
        deadline = time.monotonic() + timeout
        while not are_settled(queues):
            for queue in queues:
                if not queue.settle(max(0.0, deadline - time.monotonic())):
                    return False
        self._ask_once("reports", lambda: self.reporter.once(0.0))
        return True

    def close(self) -> None:
        """Stop; what runs is broken off and done again at the next start; detached services go on."""
        self._stop.set()
        self.observations.wake()
        for queue in self._queues.values():
            queue.stop(0.0)
        self.watch.close()
        self._engines.close()
        for queue in self._queues.values():
            queue.stop(10.0)
        self._masters.close()
        self.supervisor.close()
        self.addresses.close()

    def _ask_once(self, what: str, ask: Callable[[], None]) -> None:
        try:
            ask()
        except (UnreachableError, RefusedError) as error:
            _log.warning("%s: %s", what, error)

    def _put(self, kind: str, name: str, delay: float = 0.0) -> None:
        self._queues[kind].put(kind, name, delay)

    def plan_all(self) -> None:
        """Plan a pass over everything that is stored."""
        self.plan(
            Changes(
                tuple(item.partition for item in self.documents.partitions()),
                tuple(item.manifest for item in self.documents.supplies()),
            )
        )

    def plan(self, changes: Changes) -> None:
        """Plan work for what has changed, at once."""
        for manifest in changes.supplies:
            self._put("software", manifest)
        for partition in changes.partitions:
            self._put("partition", partition)

    def _handle(self, key: Key) -> None:
        if self._stop.is_set():
            return
        if key.kind == "software":
            self._handle_software(key)
        elif key.kind == "partition":
            self._handle_partition(key)
        elif key.kind == "promises":
            delay = self.watch.check(key.name)
            if delay is not None:
                self._put("promises", key.name, delay)
        else:
            self._look_at_services()
            for name in self.instances.asking():
                self._put("partition", name)
            self._hear_silences()
            for name, promises in reruns.take(self._folder.reruns):
                self.watch.hurry(name, promises)
                self._put("promises", name)
            self.monitor.look()
            self._put(key.kind, key.name, _WATCH_PERIOD)

    def _launch(self, partition: Path, mode: Mode, names: Iterable[str] | None) -> Iterator[Sequence[Result]]:
        for results in self._engines.launch(partition, mode, names):
            self.monitor.ran(partition.name, results)
            yield results

    def _observed(self) -> list[ObservedInstance]:
        """Return what is seen of the started instances."""
        found = (
            (document.instance, self.observations.instance(document.partition))
            for document in self.documents.partitions()
            if document.state is InstanceState.STARTED
        )
        return [seen for instance, seen in found if seen is not None and seen.instance == instance]

    def _handle_partition(self, key: Key) -> None:
        try:
            result = self.instances.process(key.name)
        except (AllotmentError, OSError) as error:  # such as a supervisor that is away: not the instance's own
            _log.warning("%s: %s", key.name, error)
            self._retry(key)
            return
        document = self.documents.get(key.name)
        if document is not None and document.state is InstanceState.DESTROYED:
            self._put("software", document.manifest)  # nobody may need it any more
        if result.wanted and Key("software", result.wanted) not in self._failures:  # else it waits for its next try
            self._put("software", result.wanted)
        if result.failed:
            self._retry(key)
        else:
            self._failures.pop(key, None)
        if document is None or document.state is not InstanceState.STARTED:
            self.watch.forget(key.name)
        elif result.deployed:
            self.watch.deployed(key.name, document.instance)
            self._put("promises", key.name)
        elif result.running:
            self.watch.adopted(key.name, document.instance)
            self._put("promises", key.name)

    def _bang(self, name: str, broken: Sequence[str]) -> None:
        """Promises of a partition have broken in operation and ask for it to be processed again."""
        if self.instances.ask(name):
            _log.info("%s is processed again, because promises are broken: %s", name, ", ".join(broken))
            self._put("partition", name)

    def _handle_software(self, key: Key) -> None:
        supply = self.documents.supply(key.name) or Supply(key.name)
        if supply.state is SupplyState.REMOVED and not self._uses(key.name):
            self.software.remove(key.name)
            self.documents.forget_release(key.name)
            self._observe_software(key.name, SoftwareStatus.REMOVED)
            return
        if key.name not in self._wanted():
            return
        if self.software.installed(key.name) is None:
            self._observe_software(key.name, SoftwareStatus.BUILDING)
        try:
            self.software.install(key.name, supply.development)
        except UnreachableError as error:
            _log.warning("release %s can't be fetched: %s", key.name[:12], error)
            self._retry(key)
            return
        except (AllotmentError, OSError) as error:  # such as a full disk, while something is fetched
            if self._stop.is_set():
                return
            _log.warning("release %s: %s", key.name[:12], str(error).splitlines()[0])
            self._observe_software(key.name, SoftwareStatus.FAILED, str(error))
            self._retry(key)
        else:
            self._failures.pop(key, None)
            self._observe_software(key.name, SoftwareStatus.AVAILABLE)
        for document in self.documents.partitions():
            # A destroyed one asks for its release to be looked at: asking back would go on for ever.
            if document.manifest == key.name and document.state is not InstanceState.DESTROYED:
                self._put("partition", document.partition)

    def _uses(self, manifest: str) -> bool:
        """Whether a partition is of this release, or is still being cleared of it."""
        return any(
            item.manifest == manifest
            and (item.state is not InstanceState.DESTROYED or self._folder.partition(item.partition).exists())
            for item in self.documents.partitions()
        )

    def _wanted(self) -> set[str]:
        """Return the releases that are supplied, or that a partition needs whether supplied or not."""
        used = {item.manifest for item in self.documents.partitions() if item.state is not InstanceState.DESTROYED}
        return used | {item.manifest for item in self.documents.supplies()}

    def _observe_software(self, manifest: str, status: SoftwareStatus, error: str = "") -> None:
        self.observations.put_software(ObservedSoftware(manifest, status, error))

    def _retry(self, key: Key) -> None:
        backoff = self._failures.setdefault(key, Backoff(1.0, 300.0))
        self._put(key.kind, key.name, backoff.failed())

    def _hear_silences(self) -> None:
        """Let a silence count when it is made and when it is over, not only when promises run."""
        known = self.silences.known()
        if known != self._silenced:
            self._silenced = known
            self.watch.judge_again()

    def _look_at_services(self) -> None:
        """Start a supervisor that has died; tell of services that keep failing, and try them again now and then."""
        try:
            self.supervisor.start()
            self._looks += 1
            if self._looks % _RESTART_PERIODS == 0:
                self.supervisor.restart_failed()
            states = self.supervisor.states()
        except (AllotmentError, OSError) as error:
            _log.warning("services: %s", error)
            return
        for document in self.documents.partitions():
            mine = (item for item in states if item.partition == document.partition)
            failed = {item.name: item.detail for item in mine if item.status is ServiceStatus.FAILED}
            self.watch.services(document.partition, failed)


def make_supervisor(folder: NodeFolder, config: NodeConfig) -> Supervisor:
    """Return the supervisor that the configuration names; an unknown name or a broken plugin is an error."""
    found: SupervisorType = plugins().named("allotment_supervisors", config.supervisor, "supervisor")
    options = SupervisorOptions(
        folder=folder.supervisor,
        partitions=folder.partitions,
        usage=folder.usage,
        logs=folder.service_logs,
        capacity=config.partitions,
        limits=config.service_limits,
        attached=config.services == "attached",
    )
    supervisor: Supervisor = load(found.target)(options)
    return supervisor


def listed(observations: Observations, names: Iterable[str]) -> list[ObservedInstance]:
    """Return the observations of partitions that are in use."""
    found = (observations.instance(name) for name in names)
    return [item for item in found if item is not None and item.status is not InstanceStatus.DESTROYED]
