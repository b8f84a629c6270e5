# SPDX-License-Identifier: Apache-2.0
"""The whole path on one machine: commit, farm, verdict, signed manifest, master, node, promises, URL."""

import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import filelock
import httpx2

from allotment.client import MasterClient
from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.service import InstanceInfo
from allotment.options import Lines
from allotment.secret import Secret
from allotment_node.commands.register import register
from allotment_node.config import NodeConfig
from allotment_node.folder import NodeFolder
from allotment_recipes.shared_store import remove
from allotment_testfarm.programs import Program, Programs

RELEASES = ("helloworld",)  # what production deploys once the farm has proved it
NODE = "production-1"
INSTANCE = "hello"
_PROVE_SECONDS = 600.0
_DEPLOY_SECONDS = 180.0


Services = Literal["attached", "detached"]


class Demo:
    """One run of the whole path; use it as a context manager: leaving it stops every program."""

    def __init__(
        self,
        folder: Path,
        repository: Path,
        say: Callable[[str], None],
        services: Services = "attached",
    ) -> None:
        """``services`` is the production node's setting: attached ones end with it, so that Ctrl-C leaves nothing."""
        self.folder = folder
        self.programs = Programs()
        self.master = ""  # URL, once started
        self.farm = ""  # URL of the results page, once started
        self.revision = ""  # the commit that is proved
        self._repository = repository
        self._say = say
        self._services = services
        self._seconds: dict[str, float] = {}
        self._began = time.monotonic()
        self._lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))

    def __enter__(self) -> Self:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise AllotmentError(f"a demo is running in {self.folder}", "Stop it, or give another --folder") from None
        remove(self.folder)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step("stopping every program")
        self.programs.__exit__(kind, error, trace)
        self._lock.release()

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
        self.revision, subject = self._head()
        self._step(f"the farm will prove commit {self.revision[:7]}, {subject} (committed files only)")
        token = str(self.folder / "master/admin.token")
        self.master = self._start("master", "allotment_master", ["run"], "master.json")["url"]
        self._step(f"master at {self.master}")
        arguments = ["run", "--repository", str(self._repository), "--poll", "2"]
        offer = ["--master", self.master, "--master-token-file", token]
        farm = self._start("farm", "allotment_testfarm", [*arguments, *offer], "farm.json")
        self.farm = farm["url"]
        self._step(f"farm at {self.farm}")
        for number in (1, 2):
            self.start_test_node(f"test-node-{number}", farm["wire"])
        self._register(self.folder / NODE)
        self._start(NODE, "allotment_node", ["run"], "node.json")
        self._step(f"{NODE} joined the master; it trusts what this farm signs, and nothing else")

    def start_test_node(self, name: str, wire: str) -> None:
        """Start one test node of the farm."""
        token = str(self.folder / "farm/node.token")
        arguments = ["node", "--farm", wire, "--token-file", token, "--name", name]
        self._start(name, "allotment_testfarm", arguments, "test-node.json")
        self._step(f"{name} joined the farm")

    def _head(self) -> tuple[str, str]:
        git = ["git", "-C", str(self._repository), "log", "-1", "--format=%H %s"]
        head = subprocess.run(git, capture_output=True, text=True, check=False)
        if head.returncode != 0:
            raise AllotmentError(f"git can't read {self._repository}: {head.stderr.strip()}", "Commit something first")
        revision, _, subject = head.stdout.strip().partition(" ")
        return revision, subject

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
            attempts = job.get("attempts") or []
            for step in attempts[-1]["steps"] if attempts else []:
                if step["name"] not in said:
                    said.add(step["name"])
                    self._step(f"{release}: {step['name']} on {attempts[-1]['node']}")
            return str(job["outcome"]) if job["state"] == "done" else None

        outcome: str = self.programs.wait(f"a verdict on {release}", verdict, _PROVE_SECONDS, 0.2)
        self._step(f"{release}: {outcome}")
        if outcome != "passed":
            raise AllotmentError(f"the farm's verdict on {release} is {outcome}", f"Look at {self.farm}")
        return outcome

    def newest_job(self, release: str) -> dict[str, Any] | None:
        """Return the farm's newest job of a release at the revision, with its attempts, as the JSON API shows it."""
        query = {"release": release, "revision": self.revision, "limit": "1"}
        with httpx2.Client(base_url=self.farm, timeout=10.0) as client:
            found = client.get("/api/v1/jobs", params=query).json()["items"]
            detail = client.get(f"/api/v1/jobs/{found[0]['id']}").json() if found else None
        return {**detail["job"], "attempts": detail["attempts"]} if detail else None

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

    def _start(self, name: str, module: str, arguments: list[str], ready: str) -> dict[str, Any]:
        folder = self.folder / name
        program = Program(name, module, [*arguments, "--folder", str(folder)], folder, ready)
        return self.programs.start(program)

    def _token(self, path: str) -> Secret:
        return Secret((self.folder / path).read_text().strip())

    def _step(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {text}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - start, 2)
