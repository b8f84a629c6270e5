# SPDX-License-Identifier: Apache-2.0
"""The way to the farm's binary cache: what jobs may take from it, and the parts of green jobs that are given to it.

What is to be given is a list on disk, from which a part goes when the cache has it: whoever is killed loses nothing.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError, RefusedError
from allotment.messages.manifest import ReleaseManifest
from allotment_recipes.binary_cache.push import parts_of_manifests
from allotment_recipes.signing import load_or_create_key
from allotment_recipes.store import padded_root
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import CacheOffer

KEY: Final = "cache.key"  # in the test node's folder: signs what it has built
PUBLIC: Final = "cache.pub"  # its public half, for the farm's operator
_UNPUSHED: Final = "unpushed.json"
_TEMPORARY: Final = "pushing"  # folder of what is packed
_NOT_KNOWN: Final = 404  # status of a farm that has no such call
_log = logging.getLogger(__name__)


class Sharing:
    """One test node's; :meth:`caches` and :meth:`give` are for the threads of its slots."""

    def __init__(self, folder: Path, wire: WireClient, token_file: Path) -> None:
        self._folder = folder  # the test node's
        self._wire = wire
        self._token_file = token_file  # for the program that pushes
        self._guard = threading.Lock()  # of the list
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._told = ""  # why nothing is given, when it was last said

    def start(self) -> None:
        """Begin to give what an earlier process could not."""
        try:
            self._public()
        except (AllotmentError, OSError) as error:  # a full disk; jobs may make room
            _log.warning("the key for built parts can't be made yet: %s", error)
        self._wake.set()
        threading.Thread(target=self._work, name="sharing", daemon=True).start()

    def stop(self) -> None:
        """Give no more; what is under way is given the next time."""
        self._stopping.set()
        self._wake.set()
        if (process := self._process) is not None:
            process.terminate()

    def caches(self) -> tuple[dict[str, Any], ...]:
        """Return what a job may take parts from, as builds want it."""
        offer = self._offer()
        return ({"url": offer.url, "keys": list(offer.keys)},) if offer.url and offer.keys else ()

    def give(self, manifest: ReleaseManifest) -> None:
        """Give the parts of a release that has passed to the cache, some time; a full disk is no error of the job."""
        try:
            root = self._root()
            parts = parts_of_manifests(root, [manifest])
            self._change(lambda waiting: {part for part in waiting if (root / part).is_dir()} | set(parts))
        except (AllotmentError, OSError) as error:
            _log.warning("built parts are not given to the farm's binary cache: %s", error)
        self._wake.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._push()
            except (AllotmentError, OSError) as error:
                _log.warning("built parts are not pushed, which is tried again after the next green job: %s", error)

    def _push(self) -> None:
        waiting = sorted(self._waiting())
        if self._stopping.is_set() or not waiting:
            return
        offer, public = self._offer(), self._public()
        if not offer.url or public not in offer.keys:
            self._say(f"its key {public} is not in the farm's builders.pub" if offer.url else "the farm has none")
            return
        self._told = ""
        temporary = self._folder / _TEMPORARY
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        try:
            self._run(offer.url, waiting, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _run(self, url: str, parts: Iterable[str], temporary: Path) -> None:
        """Push by a process of its own, which leaves the processor to jobs; its log is ours."""
        where = ["--folder", str(self._folder), "--cache", url, "--token-file", str(self._token_file)]
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", "allotment_testfarm", "--lifeline", "push", *where, *parts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        with process:  # which closes its standard input at the end, and waits
            if self._stopping.is_set():
                process.terminate()
            for line in process.stdout or ():
                done = line.decode().strip()
                self._change(lambda waiting, done=done: waiting - {done})  # type: ignore[misc]
        self._process = None
        if process.returncode and not self._stopping.is_set():
            _log.warning("some built parts were not pushed: this is tried again after the next green job")

    def _say(self, why: str) -> None:
        if why != self._told:
            self._told = why
            _log.info("this test node gives no parts to the farm's binary cache: %s", why)

    def _offer(self) -> CacheOffer:
        try:
            return self._wire.cache()
        except AllotmentError as error:
            if not isinstance(error, RefusedError) or error.status != _NOT_KNOWN:
                _log.warning("the farm's binary cache is not used: %s", error)
            return CacheOffer()

    def _public(self) -> str:
        """Return the key that others know this test node by; it is in a file as well, from the first call on."""
        public = load_or_create_key(self._folder / KEY).public
        path = self._folder / PUBLIC
        if not path.exists():
            write_bytes(path, f"{public}\n".encode())
        return public

    def _root(self) -> Path:
        return padded_root(self._folder / "store")

    def _waiting(self) -> set[str]:
        try:
            return set(json.loads((self._folder / _UNPUSHED).read_bytes()))
        except FileNotFoundError:
            return set()
        except (ValueError, TypeError):
            _log.warning("%s is damaged: the next green job's parts are pushed", self._folder / _UNPUSHED)
            return set()

    def _change(self, change: Callable[[set[str]], set[str]]) -> None:
        with self._guard:
            before = self._waiting()
            after = change(before)
            if after != before:
                write_bytes(self._folder / _UNPUSHED, json.dumps(sorted(after)).encode())
