# SPDX-License-Identifier: Apache-2.0
"""The whole path on one machine: commit, farm, verdict, signed manifest, master, node, promises, URL."""

import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from allotment.client import MasterClient
from allotment.codec import Json
from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.messages.service import InstanceInfo
from allotment.options import Lines
from allotment.secret import Secret
from allotment_node.commands.register import register
from allotment_node.config import NodeConfig
from allotment_node.folder import NodeFolder
from allotment_testfarm.local_farm import LocalFarm, Places

NODE = "production-1"
_PROVE_SECONDS = 3600.0  # what a job may take
_DEPLOY_SECONDS = 180.0

Services = Literal["attached", "detached"]


@dataclass(frozen=True)
class Instance:
    """What production deploys once the farm has proved its release."""

    name: str
    release: str
    page: str  # what its published URL answers has to hold
    parameters: Mapping[str, Json] = field(default_factory=dict)


HELLO = Instance("hello", "helloworld", "<h1>Hello, world</h1>")
_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Site</title><h1>Built, proved, deployed</h1>\n'
SITE = Instance("site", "static-site", _PAGE, {"content": _PAGE})
INSTANCES = (HELLO, SITE)  # what is proved quickly comes first


class NotProvedError(AllotmentError):
    """The farm has tested a release, and it is not green."""


class Demo(LocalFarm):
    """One run of the whole path; use it as a context manager: leaving it stops every program."""

    def __init__(
        self,
        places: Places,
        say: Callable[[str], None],
        instances: tuple[Instance, ...] = INSTANCES,
        services: Services = "attached",
    ) -> None:
        """``services`` is the production node's setting: attached ones end with it, so that Ctrl-C leaves nothing."""
        super().__init__(places, say)
        self.master = ""  # URL, once started
        self._instances = instances
        self._releases = tuple(dict.fromkeys(instance.release for instance in instances))
        self._services = services

    def run(self) -> dict[str, Any]:
        """Take the newest commit to URLs that answer; return the summary that ``--once`` prints."""
        with self._phase("start"):
            self.start()
        verdicts = {}
        urls = {"results": self.farm, "master": self.master}
        for instance in self._instances:
            with self._phase("prove"):
                verdicts[instance.release] = self.prove(instance.release)
            with self._phase("deploy"):
                info = self.deploy(instance)
            with self._phase("verify"):
                urls[instance.name] = self.verify(instance, info)
        return {"releases": list(self._releases), "verdicts": verdicts, "urls": urls, "seconds": self._seconds}

    def start(self) -> None:
        """Start every program; each is ready when this returns."""
        for release in sorted({*self._releases}.difference(self.prepare())):
            what = f"commit {self.revision[:7]} of {self.places.repository} holds no release {release}"
            raise AllotmentError(what, f"Commit software/{release}/software.cfg, or choose others by --only")
        token = str(self.folder / "master/admin.token")
        self.master = self._start("master", "allotment_master", ["run"], "master.json")["url"]
        self._step(f"master at {self.master}")
        self.start_farm(self._releases, "--master", self.master, "--master-token-file", token)
        self.share(NODE, "blobs")
        self._register(self.folder / NODE)
        self._start(NODE, "allotment_node", ["run"], "node.json")
        self._step(f"{NODE} joined the master; it trusts what this farm signs, and nothing else")

    def _register(self, node: Path) -> None:
        config = NodeConfig(
            name=NODE,
            masters=Lines((self.master,)),
            trust=Lines((str(self.folder / "farm/signing.pub"),)),
            services=self._services,
        )
        register(NodeFolder(node), config, self._token("master/admin.token"), {})

    def prove(self, release: str) -> str:
        """Wait for the farm's verdict on a release at HEAD, saying what all jobs do."""
        job = self.programs.wait(
            f"a verdict on {release}", lambda: self.look().get(release), _PROVE_SECONDS, interval=0.2
        )
        outcome = str(job["outcome"])
        if outcome != "passed":
            raise NotProvedError(
                f"the farm's verdict on {release} is {outcome}; the job's log is {self._watches[release].log}"
            )
        return outcome

    def client(self) -> MasterClient:
        """Return a client of the master with every right."""
        return MasterClient(self.master, self._token("master/admin.token"))

    def deploy(self, instance: Instance) -> InstanceInfo:
        """Supply what the farm signed to the production node, request an instance, wait until it is green."""
        release = instance.release
        with self.client() as client:
            self._step(f"{release}: signed manifest {self._offered(client, release)[:12]} is at the master")
            client.supply(NODE, release)
            client.request(instance.name, release, DEFAULT_TYPE, instance.parameters)
            self._step(f"requested '{instance.name}', an instance of {release}")
            info = self._wait_green(client, instance.name)
        for promise in info.promises:
            self._step(f"{instance.name}: promise {promise.name}: {promise.status}: {promise.message}")
        return info

    def _offered(self, client: MasterClient, release: str) -> str:
        """Wait until the farm has offered a release's signed manifest to the master; return its sha256."""

        def find() -> str | None:
            return next((found.manifest for found in client.releases() if found.name == release), None)

        sha256: str = self.programs.wait(f"the signed manifest of {release} at the master", find, 30.0)
        return sha256

    def _wait_green(self, client: MasterClient, name: str) -> InstanceInfo:
        said: set[str] = set()

        def green() -> InstanceInfo | None:
            self.look()
            info = client.instance(name)
            if info.status not in said:
                said.add(info.status)
                self._step(f"{name}: {info.status}{f' ({info.error})' if info.error else ''}")
            return info if info.status == InstanceStatus.GREEN else None

        found: InstanceInfo = self.programs.wait(f"{name} green", green, _DEPLOY_SECONDS, interval=0.1)
        return found

    def verify(self, instance: Instance, info: InstanceInfo) -> str:
        """Fetch the page that an instance publishes and compare; return its URL."""
        url = str(info.published["url"])
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        if instance.page not in text:
            raise AllotmentError(f"{url} of '{instance.name}' answers {text[:200]!r}, not {instance.page!r}")
        self._step(f"{instance.name}: {url} answers what it should")
        return url

    def _token(self, path: str) -> Secret:
        return Secret((self.folder / path).read_text().strip())
