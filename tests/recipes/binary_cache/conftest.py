# SPDX-License-Identifier: Apache-2.0
"""A release of two compiled parts, of which one links to the other, and binary caches of it: honest ones and a liar."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.binary_cache import push
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
from allotment_recipes.engine import BuildEngine, BuildRequest, BuildResult
from allotment_recipes.shared_store import remove
from allotment_recipes.signing import SigningKey, load_or_create_key
from allotment_recipes.store import padded_root

SOURCES = {
    "greeting": {
        "Makefile": """\
all: libgreeting.so
libgreeting.so: greeting.c
\t$(CC) $(CFLAGS) -fPIC -shared -Wl,-soname,$@ -DDATA='"$(PREFIX)/share/greeting"' -o $@ $<
install: all
\tmkdir -p $(PREFIX)/lib $(PREFIX)/include $(PREFIX)/share
\tcp libgreeting.so $(PREFIX)/lib/
\tcp greeting.h $(PREFIX)/include/
\techo "hello from $(PREFIX)" > $(PREFIX)/share/greeting
\tln -s $(PREFIX)/share/greeting $(PREFIX)/share/link
""",
        "greeting.c": """\
#include <stdio.h>
void greet(void) {
    char line[999];
    FILE *file = fopen(DATA, "r");
    if (file && fgets(line, sizeof line, file)) fputs(line, stdout);
}
""",
        "greeting.h": "void greet(void);\n",
    },
    "greeter": {
        "Makefile": """\
all: greeter
greeter: greeter.c
\t$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -lgreeting
install: all
\tmkdir -p $(PREFIX)/bin
\tcp greeter $(PREFIX)/bin/
""",
        "greeter.c": '#include "greeting.h"\nint main(void) { greet(); return 0; }\n',
    },
}
EXTRA = {"greeter": "environment =\n  GREETING = ${greeting:location}\n"}


@dataclass
class Yard:
    """The release's profile and sources, and builds of it."""

    place: Path
    engine: BuildEngine
    key: SigningKey
    builds: int = 0
    parts: dict[str, str] = field(default_factory=dict)  # part -> its folder's name

    def write(self, extra: Mapping[str, str] | None = None) -> None:
        """Write the profile; ``extra`` lines go into a part's section."""
        text = "[buildout]\nparts = greeter\n"
        for name, files in SOURCES.items():
            path = self.place / f"{name}.tar"
            with tarfile.open(path, "w") as archive:
                for file, content in files.items():
                    info = tarfile.TarInfo(f"{name}-1/{file}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content.encode()))
            text += f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1\nurl = {path}\n"
            text += f"sha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}\nconfigure-command = true\n"
            text += f"make-options = PREFIX=@@LOCATION@@\n{EXTRA.get(name, '')}{(extra or {}).get(name, '')}"
        (self.place / "profiles").mkdir(exist_ok=True)
        (self.place / "profiles/software.cfg").write_text(text)

    def request(self, store: str, urls: Sequence[str] = (), **more: Any) -> BuildRequest:
        """Return a build of the profile into a store; each one has a folder and sources of its own."""
        self.builds += 1
        caches = tuple({"url": url, "keys": [self.key.public]} for url in urls)
        folder, sources = self.place / f"release{self.builds}", self.place / f"sources{self.builds}"
        fields = {"store": self.place / store, "caches": caches, **more}
        return BuildRequest(self.place / "profiles", "software.cfg", folder, sources, 60.0, **fields)

    def build(self, store: str, urls: Sequence[str] = (), **more: Any) -> BuildResult:
        return self.run(self.request(store, urls, **more))

    def run(self, request: BuildRequest) -> BuildResult:
        """Build; the parts of a right build are known by their folders afterwards."""
        result = self.engine.build(request, request.folder / "build.log")
        assert result.ok, result.error
        self.parts = {name: f"{name}-1-{digest[:32]}" for name, digest in result.parts.items()}
        return result

    @property
    def log(self) -> str:
        """What the last build said."""
        return (self.place / f"release{self.builds}/build.log").read_text()

    def root(self, store: str) -> Path:
        return padded_root(self.place / store)

    def greets(self, store: str) -> bool:
        """Run the program of a store, and say whether it names its own store."""
        root = self.root(store)
        done = subprocess.run(
            [root / self.parts["greeter"] / "bin/greeter"], capture_output=True, text=True, check=True
        )
        return done.stdout == f"hello from {root / self.parts['greeting']}\n"

    def push(self, store: str, cache: BinaryCache, key: SigningKey | None = None) -> list[push.Pushed]:
        root = self.root(store)
        return push.push(cache, root, push.parts_of_store(root), key or self.key, lambda result: None, 2)

    def folder_cache(self, store: str = "store") -> str:
        """Push a store to a cache in a folder and return its URL."""
        url = str(self.place / "cache")
        self.push(store, open_cache(url))
        return url


@dataclass
class Served:
    """A cache that ``allot cache serve`` keeps."""

    folder: Path
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "allotment", "cache", "serve", "--folder", str(self.folder), *options]
        self.process = subprocess.Popen(command, env={**os.environ, **self.environment}, stderr=subprocess.PIPE)
        wait(lambda: (self.folder / "cache.json").exists() or self.process.poll() is not None)  # type: ignore[union-attr]

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            (self.folder / "cache.json").unlink(missing_ok=True)
            self.process = None

    @property
    def url(self) -> str:
        found: str = json.loads((self.folder / "cache.json").read_bytes())["url"]
        return found

    def open(self) -> BinaryCache:
        """Return the cache, for who may add to it."""
        return open_cache(self.url, (self.folder / "token").read_text().strip())


@pytest.fixture
def yard(short_path: Path, engine: BuildEngine) -> Iterator[Yard]:
    found = Yard(short_path, engine, load_or_create_key(short_path / "config/allotment/cache.key"))
    found.write()
    yield found
    for root in short_path.glob("*/_*"):
        remove(root)


@pytest.fixture
def built(yard: Yard) -> Yard:
    """A yard in which the release is built, in ``store``."""
    yard.build("store")
    return yard


@pytest.fixture
def served(tmp_path: Path, yard: Yard) -> Iterator[Served]:
    """A served cache that accepts what the yard's key has signed."""
    found = Served(tmp_path / "served", {"XDG_CONFIG_HOME": str(yard.place / "config")})
    found.start()
    yield found
    found.kill()


def wait(until: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Liar:
    """A cache over HTTP that tells what is in a folder, or what a test makes of it: each answer can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.cache = open_cache(str(folder))
        self.bytes_a_second = 1e9
        self.entry: Callable[[str, Any], Any] = lambda part, entry: entry  # what is said of a part
        self.archive: Callable[[bytes], bytes] = lambda data: data  # what is sent of it
        self.answer: Callable[[BaseHTTPRequestHandler], bool] = lambda handler: False  # true: it has answered
        self.ranges: list[str] = []
        self.paths: list[str] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                liar.paths.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if liar.answer(self):
                    return
                found = liar.cache.entries(json.loads(body)["parts"])
                told = {part: liar.entry(part, json.loads(data)) for part, data in found.items()}
                self.reply(200, json.dumps({"entries": told}).encode())

            def do_GET(self) -> None:
                liar.paths.append(self.path)
                if liar.answer(self):
                    return
                data = liar.archive(b"".join(liar.cache.read(self.path.rpartition("/")[2])))
                wanted = self.headers["Range"]
                if wanted:
                    liar.ranges.append(wanted)
                    start = int(wanted.removeprefix("bytes=").rstrip("-"))
                    self.reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
                else:
                    self.reply(200, data)

            def reply(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                size = max(1, min(len(data), int(liar.bytes_a_second / 20)))
                with contextlib.suppress(OSError):  # the client has had enough
                    for start in range(0, len(data), size):
                        self.wfile.write(data[start : start + size])
                        self.wfile.flush()
                        time.sleep(size / liar.bytes_a_second)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def liar(built: Yard) -> Iterator[Liar]:
    """A cache of the built release, which lies as a test tells it to."""
    built.folder_cache()
    found = Liar(built.place / "cache")
    yield found
    found.close()
