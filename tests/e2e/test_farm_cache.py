# SPDX-License-Identifier: Apache-2.0
"""The farm's binary cache with real processes: one test node builds, others take the parts and need no compiler."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from allotment.messages.job import Job
from allotment_recipes.shared_store import remove
from allotment_testfarm.testnode import scratch as scratch_folder
from allotment_testfarm.testnode.guarded import GuardedJob, most_memory

pytestmark = [pytest.mark.xdist_group("e2e-farm-cache"), pytest.mark.timeout(600)]

MAKEFILE = """\
all: greeter
greeter: greeter.c
\t$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $<
install: all
\tmkdir -p $(PREFIX)/bin
\tcp greeter $(PREFIX)/bin/
\thead -c $(SIZE) /dev/urandom > $(PREFIX)/ballast
"""
PROGRAM = "#include <stdio.h>\nint main(void) { puts(GREETING); return 0; }\n"
RELEASE = """\
[buildout]
parts = greeter profile

[greeter]
recipe = allotment.recipes:cmmi
version = 1
url = {url}
sha256sum = {sha256}
configure-command = true
make-options = PREFIX=@@LOCATION@@ SIZE={size} CFLAGS=-DGREETING='"\\"{greeting}\\""'

[profile]
recipe = allotment.recipes:template.jinja2
inline = [buildout]
  parts = greets
  [greets]
  recipe = allotment.recipes:promise
  promise = check_command_execute
  config-command = ${{greeter:location}}/bin/greeter
output = ${{buildout:directory}}/instance.cfg
"""
TYPES = {"title": "T", "description": "D", "profile": "instance.cfg", "parameters": "in.json", "published": "out.json"}
# The compiler can be asked for its version, by which parts are known, and compiles nothing.
TOOLS = ("as", "ld", "make")
HIDE = 'for tool in $TOOLS; do mount --bind /dev/null "$(readlink -f "$tool")" || exit 9; done; exec "$@"'
Commit = Callable[[Path, str], str]


def eventually(what: str, condition: Callable[[], Any], seconds: float = 90.0, pause: float = 0.05) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(pause)
    return found


def ask(url: str, **words: Any) -> httpx2.Response:
    return httpx2.get(url, timeout=60.0, **words)


def without_tools() -> tuple[list[str], dict[str, str]]:
    """Return the words and variables by which a command is run where nothing assembles, links or is made."""
    paths = {path for name in TOOLS if (path := shutil.which(name, path="/usr/bin:/bin"))}
    return ["unshare", "-Urm", "/bin/sh", "-c", HIDE, "sh"], {"TOOLS": " ".join(sorted(paths))}


class Gate:
    """Stands before a server, for clients: of all that they send it passes on so much, and holds the rest."""

    def __init__(self, find: Callable[[], str], most: int) -> None:
        """``find`` returns the server's URL; ``most`` is in bytes."""
        self.is_shut = False
        self._find = find
        self._left = most
        self._opened = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        """Let all through from now on, and cut the connections that were held."""
        self._opened.set()

    def close(self) -> None:
        self.open()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        url = httpx2.URL(self._find())
        with client, contextlib.suppress(OSError), socket.create_connection((url.host, url.port)) as server:
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            self._pump(client, server, is_limited=not self._opened.is_set())

    def _pump(self, source: socket.socket, sink: socket.socket, *, is_limited: bool = False) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(1 << 16)) and (not is_limited or self._may_pass(len(data))):
                sink.sendall(data)
        for end in (source, sink):  # the other thread may wait at either
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _may_pass(self, size: int) -> bool:
        self._left -= size
        if self._left < 0:
            self.is_shut = True
            self._opened.wait()
        return self._left >= 0


@dataclass
class Yard:
    """A repository with one compiled release, a farm that follows it, and its test nodes."""

    place: Path
    commit: Commit
    size: int = 1000  # bytes of the part that can't be compressed
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.place / "checkout"

    @property
    def farm(self) -> Path:
        return self.place / "farm"

    def begin(self) -> None:
        """Make the repository, without a release: nothing is to be built before its builder is trusted."""
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.repository)], check=True)
        (self.repository / "README").write_text("no release yet\n")
        self.commit(self.repository, "begin")

    def publish(self, greeting: str) -> str:
        """Commit the release with a program that says something else; return the commit."""
        archive = self.place / "greeter.tar"
        with tarfile.open(archive, "w") as tar:
            for name, text in {"Makefile": MAKEFILE, "greeter.c": PROGRAM}.items():
                member = tarfile.TarInfo(f"greeter-1/{name}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        folder = self.repository / "software/greet"
        folder.mkdir(parents=True, exist_ok=True)
        text = RELEASE.format(url=archive, sha256=sha256, size=self.size, greeting=greeting)
        (folder / "software.cfg").write_text(text)
        for name in ("in.json", "out.json"):
            (folder / name).write_text('{"type": "object"}')
        (folder / "software.cfg.json").write_text(
            json.dumps({"format": 1, "name": "greet", "types": {"default": TYPES}})
        )
        return self.commit(self.repository, f"greet: say {greeting}")

    def remark(self, text: str) -> str:
        """Commit another file of the release, which changes no part; return the commit."""
        path = self.repository / "software/greet/software.cfg"
        path.write_text(f"{path.read_text()}# {text}\n")
        return self.commit(self.repository, text)

    def start(self, name: str, module: str, *arguments: str, before: Any = ((), {}), folder: str = "") -> None:
        words, variables = before
        command = [*words, sys.executable, "-m", module, *arguments, "--folder", folder or str(self.place / name)]
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "TMPDIR": str(self.place), **variables},
            )  # fmt: skip

    def start_farm(self, *options: str, before: Any = ((), {}), folder: str = "") -> None:
        words = ["run", "--repository", str(self.repository), "--poll", "0.2", *options]
        self.start("farm", "allotment_testfarm", *words, before=before, folder=folder)
        eventually("the farm", lambda: (self.farm / "farm.json").exists())

    def start_node(self, name: str, before: Any = ((), {})) -> None:
        token = str(self.farm / "node.token")
        words = ["node", "--farm", self.told["wire"], "--token-file", token, "--name", name, "--grace", "0"]
        self.start(name, "allotment_testfarm", *words, before=before)
        eventually(name, lambda: (self.place / name / "test-node.json").exists())

    def trust(self, name: str) -> None:
        """Let the farm take what a test node builds."""
        public = eventually("a key", lambda: (self.place / name / "cache.pub").exists() and self.key(name))
        with (self.farm / "builders.pub").open("a") as file:
            file.write(f"{public}  # {name}\n")

    def build_first(self, *options: str) -> str:
        """Start a farm whose test node, called first and trusted, has built the release; return the commit."""
        self.begin()
        self.start_farm(*options)
        self.start_node("first")
        self.trust("first")
        commit = self.publish("hello")
        self.job(commit)
        return commit

    def key(self, name: str) -> str:
        return (self.place / name / "cache.pub").read_text().strip()

    def log(self, name: str) -> Path:
        return self.place / f"{name}.log"

    def said(self, name: str, text: str) -> bool:
        return text in self.log(name).read_text()

    @property
    def told(self) -> Mapping[str, Any]:
        found: dict[str, Any] = json.loads((self.farm / "farm.json").read_bytes())
        return found

    @property
    def cache(self) -> str:
        return f"{self.told['url']}/cache"

    def parts(self) -> list[str]:
        """Return what the farm's cache has."""
        found: list[str] = ask(f"{self.cache}/api/v1/entries").json()["parts"]
        return found

    def job(self, commit: str, outcome: str = "passed") -> str:
        """Wait until the job of a commit has ended so; return its log."""
        query = {"release": "greet", "revision": commit}

        def ended() -> Any:
            found = ask(f"{self.told['url']}/api/v1/jobs", params=query).json()["items"]
            return found and found[0]["state"] == "done" and found[0]

        job = eventually(f"the job of {commit}", ended)
        log = ask(f"{self.told['url']}/api/v1/jobs/{job['id']}/log").text
        assert job["outcome"] == outcome, log
        return log

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(60)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, alive
        (self.place / name / "test-node.json").unlink(missing_ok=True)

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            process.wait(60)
        for root in self.place.glob("**/store/_*"):
            remove(root)

    def build(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run ``allot build`` as a machine would on which nothing compiles, and which trusts the farm's builders."""
        words, variables = without_tools()
        place = self.place / name
        (place / "config/allotment").mkdir(parents=True)
        shutil.copy(self.farm / "builders.pub", place / "config/allotment/trusted-keys")
        release = str(self.repository / "software/greet")
        command = [*words, sys.executable, "-m", "allotment", "build", release, *options]
        where = {"--folder": place / "release", "--sources": place / "sources", "--store": place / "store"}
        command += [str(word) for pair in where.items() for word in pair]
        variables |= {"XDG_CONFIG_HOME": str(place / "config"), "PATH": os.environ["PATH"], "HOME": str(place)}
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def make_gate(yard: "Yard") -> Iterator[Callable[[int], Gate]]:
    """Make a gate before the farm's pages; it is closed after the test."""
    with contextlib.ExitStack() as gates:

        def make(most: int) -> Gate:
            gate = Gate(lambda: str(yard.told["url"]), most)
            gates.callback(gate.close)
            return gate

        yield make


@pytest.fixture
def yard(scratch: Path, commit: Commit) -> Iterator[Yard]:
    found = Yard(scratch, commit)
    try:
        yield found
    finally:
        found.close()
        for path in sorted(scratch.glob("*.log")):
            print(f"== {path.name}\n{path.read_text()}")  # shown by pytest when the test fails


def greeting(store: Path, part: str) -> str:
    (program,) = store.glob(f"*/{part}/bin/greeter")
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def test_what_one_test_node_has_built_others_take_where_nothing_compiles(yard: Yard) -> None:
    assert "building" in yard.job(yard.build_first())
    (part,) = eventually("the part", yard.parts)
    eventually("it is settled", lambda: json.loads((yard.place / "first/unpushed.json").read_bytes()) == [])
    yard.kill("first", signal.SIGTERM)
    assert ask(f"{yard.told['url']}/cache/health").json()["takes_uploads"]

    yard.start_node("second", without_tools())
    log = yard.job(yard.remark("nothing"))
    assert f"fetched {part}" in log
    assert "building greeter" not in log
    assert greeting(yard.place / "second/store", part) == "hello\n"

    assert yard.build("alone").returncode == 1  # nothing compiles there
    done = yard.build("production", "--cache", yard.cache)
    assert done.returncode == 0, done.stderr
    assert greeting(yard.place / "production/store", part) == "hello\n"
    # Who is not on the list has taken parts, and gives none: not those that it has not built, nor any other.
    eventually("why", lambda: yard.said("second", f"its key {yard.key('second')} is not in the farm's builders.pub"))


def test_a_test_node_that_is_killed_while_it_pushes_goes_on_with_it(yard: Yard, make_gate: Callable[..., Gate]) -> None:
    yard.size = 30_000_000
    gate = make_gate(yard.size // 2)
    yard.build_first("--cache-url", f"{gate.url}/cache")
    uploads = yard.farm / "cache/uploads"
    eventually("bytes", lambda: gate.is_shut and any(path.stat().st_size for path in uploads.glob("*.part")))
    yard.kill("first")
    assert not yard.parts()
    gate.open()
    (upload,) = uploads.glob("*.part")
    assert 0 < upload.stat().st_size < yard.size
    assert json.loads((yard.place / "first/unpushed.json").read_bytes())
    yard.start_node("first")
    (part,) = eventually("the part", yard.parts)
    eventually("it is settled", lambda: json.loads((yard.place / "first/unpushed.json").read_bytes()) == [])
    assert yard.build("production", "--cache", yard.cache).returncode == 0
    assert greeting(yard.place / "production/store", part) == "hello\n"


def test_a_damaged_part_is_refused_and_built(yard: Yard) -> None:
    yard.build_first()
    (part,) = eventually("the part", yard.parts)
    yard.kill("first", signal.SIGTERM)
    (archive,) = yard.farm.glob("cache/parts/archives/*/*")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.chmod(0o644)
    archive.write_bytes(data)

    yard.start_node("second")
    log = yard.job(yard.remark("nothing"))
    assert f"{part} from {yard.cache} is refused: " in log
    assert "building greeter" in log
    assert greeting(yard.place / "second/store", part) == "hello\n"


def test_a_full_disk_of_the_farm_keeps_room_for_verdicts_and_takes_the_parts_later(
    yard: Yard, make_small_disk: Callable[[Path, str], Any]
) -> None:
    disk = make_small_disk(yard.place / "disk", "400m")
    (yard.place / "farm").symlink_to(disk.outside / "farm")
    yard.size = 40_000_000
    yard.begin()
    yard.start_farm(before=(disk.inside, {}), folder=str(disk.place / "farm"))
    yard.start_node("first")
    yard.trust("first")
    disk.fill(left=60_000_000)
    yard.job(yard.publish("hello"))
    why = "MB are free and 21 MB are kept for logs and results. Make room there."
    eventually("clear words", lambda: yard.said("first", why))
    assert not yard.parts()

    disk.relieve()
    yard.job(yard.publish("good evening"))
    parts = eventually("both parts", lambda: len(yard.parts()) == 2 and yard.parts())
    assert parts


@pytest.mark.parametrize(("kind", "how"), [("release", "fetched"), ("from-scratch", "building")])
def test_only_from_scratch_is_built_what_the_cache_has(yard: Yard, kind: str, how: str) -> None:
    first = yard.build_first()
    (part,) = eventually("the part", yard.parts)
    place = scratch_folder.create(yard.place / "job")
    job = Job(1, "demo", first, "greet", "software/greet/software.cfg", kind, timeout=500.0)
    caches = [{"url": yard.cache, "keys": [yard.key("first")]}]
    guarded = GuardedJob(job, yard.repository, place, yard.place / "sources", most_memory(), caches=caches)
    guarded.start()
    result = guarded.result(guarded.wait())
    log = place.log.read_text()
    scratch_folder.remove(place.folder)
    assert result.outcome == "passed", log
    said = {"fetched": f"fetched {part}" in log, "building": f"building {part}" in log}
    assert said == {"fetched": how == "fetched", "building": how == "building"}
