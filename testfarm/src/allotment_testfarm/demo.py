# SPDX-License-Identifier: Apache-2.0
"""The whole path on one machine: commit, farm, verdict, signed manifest, master, node, promises, URL."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from allotment.client import MasterClient
from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.service import InstanceInfo
from allotment.options import Lines
from allotment.secret import Secret
from allotment_node.commands.register import register
from allotment_node.config import NodeConfig
from allotment_node.folder import NodeFolder
from allotment_testfarm.local_farm import LocalFarm

RELEASES = ("helloworld",)  # what production deploys once the farm has proved it
NODE = "production-1"
INSTANCE = "hello"
_PROVE_SECONDS = 600.0
_DEPLOY_SECONDS = 180.0


Services = Literal["attached", "detached"]


class NotProvedError(AllotmentError):
    """The farm has tested a release, and it is not green."""


class Demo(LocalFarm):
    """One run of the whole path; use it as a context manager: leaving it stops every program."""

    def __init__(
        self,
        folder: Path,
        repository: Path,
        say: Callable[[str], None],
        services: Services = "attached",
    ) -> None:
        """``services`` is the production node's setting: attached ones end with it, so that Ctrl-C leaves nothing."""
        super().__init__(folder, repository, say)
        self.master = ""  # URL, once started
        self._services = services

    def run(self) -> dict[str, Any]:
        """Take the newest commit to a URL that answers; return the summary that ``--once`` prints."""
        with self._phase("start"):
            self.start()
        with self._phase("prove"):
            verdicts = {release: self.prove(release) for release in RELEASES}
        with self._phase("deploy"):
            info = self.deploy()
        with self._phase("verify"):
            url = self.verify(info)
        urls = {"results": self.farm, "master": self.master, "hello": url}
        return {"releases": list(RELEASES), "verdicts": verdicts, "urls": urls, "seconds": self._seconds}

    def watch(self) -> None:
        """Stay until interrupted; a program that ends by itself is an error."""
        while True:
            self.programs.check()
            time.sleep(0.5)

    def start(self) -> None:
        """Start every program; each is ready when this returns."""
        self.read_head()
        token = str(self.folder / "master/admin.token")
        self.master = self._start("master", "allotment_master", ["run"], "master.json")["url"]
        self._step(f"master at {self.master}")
        self.start_farm("--master", self.master, "--master-token-file", token)
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
        """Wait for the farm's verdict on a release at HEAD, saying each step as it begins."""
        said: set[str] = set()

        def verdict() -> str | None:
            job = self.newest_job(release)
            if job is None:
                return None
            self.say_steps(job, said)
            return str(job["outcome"]) if job["state"] == "done" else None

        outcome: str = self.programs.wait(f"a verdict on {release}", verdict, _PROVE_SECONDS, 0.2)
        self._step(f"{release}: {outcome}")
        if outcome != "passed":
            log = self.folder / "farm" / (self.newest_job(release) or {})["attempts"][-1]["log"]
            raise NotProvedError(f"the farm's verdict on {release} is {outcome}; the job's log is {log}")
        return outcome

    def client(self) -> MasterClient:
        """Return a client of the master with every right."""
        return MasterClient(self.master, self._token("master/admin.token"))

    def deploy(self) -> InstanceInfo:
        """Supply what the farm signed to the production node, request an instance, wait until it is green."""
        with self.client() as client:
            self._supply(client)
            client.request(INSTANCE, RELEASES[0])
            self._step(f"requested '{INSTANCE}', an instance of {RELEASES[0]}")
            info = self._wait_green(client)
        for promise in info.promises:
            self._step(f"promise {promise.name}: {promise.status}: {promise.message}")
        return info

    def _supply(self, client: MasterClient) -> None:
        for release in RELEASES:
            self._step(f"{release}: signed manifest {self._offered(client, release)[:12]} is at the master")
            client.supply(NODE, release)

    def _offered(self, client: MasterClient, release: str) -> str:
        """Wait until the farm has offered a release's signed manifest to the master; return its sha256."""

        def find() -> str | None:
            return next((found.manifest for found in client.releases() if found.name == release), None)

        sha256: str = self.programs.wait(f"the signed manifest of {release} at the master", find, 30.0)
        return sha256

    def _wait_green(self, client: MasterClient) -> InstanceInfo:
        said: set[str] = set()

        def green() -> InstanceInfo | None:
            info = client.instance(INSTANCE)
            if info.status not in said:
                said.add(info.status)
                self._step(f"{INSTANCE}: {info.status}{f' ({info.error})' if info.error else ''}")
            return info if info.status == InstanceStatus.GREEN else None

        found: InstanceInfo = self.programs.wait(f"{INSTANCE} green", green, _DEPLOY_SECONDS)
        return found

    def verify(self, info: InstanceInfo) -> str:
        """Fetch the page that the instance publishes; return its URL."""
        url = str(info.published["url"])
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        heading = re.search("<h1>(.*?)</h1>", text)
        self._step(f"{url} answers: {heading[1] if heading else text[:80]}")
        return url

    def _token(self, path: str) -> Secret:
        return Secret((self.folder / path).read_text().strip())
