# SPDX-License-Identifier: Apache-2.0
"""What one buildout run shares with its recipes: the instance's input, the journal, and what is to be told."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.instance import ChildRequest, InstanceInput
from allotment_recipes.graph.events import tell
from allotment_recipes.graph.jobs import Jobs
from allotment_recipes.journal import Journal
from allotment_recipes.tokens import Tokens, load_key

if TYPE_CHECKING:  # it imports buildout
    from allotment_recipes.subprofiles import Subprofile

INPUT_LIMIT = 16 << 20  # bytes of instance.json
PARTS = ".parts.jsonl"  # in a release's folder: the shared parts that the last build has come to, one a line


@dataclass
class RunContext:
    """One run. Recipes reach it as ``self.run``; they never talk to the network, but read and fill this."""

    folder: Path  # of the partition or of the software release
    journal: Journal
    sources: Path  # blob folder in which sources are kept by sha256
    tokens: Tokens
    closure: Path | None = None  # root of the unpacked profiles, in a build
    store: Path | None = None  # folder of the store that releases share, in a build
    stores: tuple[Path, ...] = ()  # folders of further stores, which are only read
    caches: tuple[Mapping[str, Any], ...] = ()  # binary caches that are asked before a part is built: url, keys
    compiler: str = ""  # by which parts are known; default: this machine's
    instance: InstanceInput | None = None
    requests: dict[str, ChildRequest] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    published_shared: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)  # what whoever requested the instance is to be told
    shared_errors: dict[str, list[str]] = field(default_factory=dict)  # shared instance's name -> the same
    ports: set[tuple[str, int]] = field(default_factory=set)  # (IP address, port) that sections of this run have chosen
    jobs: Jobs = field(default_factory=Jobs)  # what tells the commands of parts how many of them may run
    ended: dict[str, str] = field(default_factory=dict)  # part -> the event that it ended with, in a build
    built_ahead: set[str] = field(default_factory=set)  # parts that a child of this run has built, and told of
    is_child: bool = False  # this process builds one part, and its parent tells the end of it
    subprofiles: "list[Subprofile]" = field(default_factory=list)  # those that parts of this run have run

    def __post_init__(self) -> None:
        self.journal.scrub = self.tokens.scrub

    @functools.cached_property
    def store_root(self) -> Path | None:
        """The root of the store that releases share; a path that is too long is an error."""
        if self.store is None:
            return None
        from allotment_recipes.store import padded_root

        return padded_root(self.store)

    @functools.cached_property
    def lower_roots(self) -> tuple[Path, ...]:
        """The roots of the stores that are only read; one that can't be used is an error."""
        if not self.stores:
            return ()
        from allotment_recipes.stores import lower_roots

        return lower_roots(self.stores, self.store_root)

    @property
    def shared_roots(self) -> tuple[Path, ...]:
        """The roots of all stores that releases share; the one to build in is the first."""
        own = self.store_root
        return self.lower_roots if own is None else (own, *self.lower_roots)

    def need_instance(self, section: str) -> InstanceInput:
        """Return the instance's input; outside an instance run it is an error."""
        if self.instance is None:
            raise AllotmentError(
                f"[{section}] needs an instance, but {self.folder}/.allotment/instance.json does not exist",
                "Use this recipe in an instance profile only",
            )
        return self.instance

    def tell_part(self, name: str, version: str, started: float, seconds: float, *, is_reused: bool) -> None:
        """Append to ``PARTS`` of the release that a shared part is there; upstream's command has no such file.

        ``started`` is in seconds since the UTC epoch.
        """
        if self.closure is None or name in self.built_ahead:
            return
        if name not in self.ended:
            tell(self, name, "reused" if is_reused else "built", seconds=round(seconds, 1))
        fields = {"name": name, "version": version, "started": started, "seconds": seconds, "is_reused": is_reused}
        with (self.folder / PARTS).open("a") as file:
            file.write(f"{json.dumps(fields)}\n")

    def request(self, section: str, child: ChildRequest) -> None:
        """Enter a child; two sections that request the same name are an error."""
        if child.name in self.requests:
            raise AllotmentError(
                f"[{section}] requests the child '{child.name}', which another section requests already",
                "Give each child a name of its own",
            )
        self.requests[child.name] = child


def read_instance(folder: Path) -> InstanceInput | None:
    """Return ``.allotment/instance.json`` of a partition, or None when there is none."""
    from allotment.atomic import read_limited

    path = folder / ".allotment" / "instance.json"
    data = read_limited(path, INPUT_LIMIT)
    return None if data is None else loads(InstanceInput, data, str(path))


def context_of(buildout: Mapping[str, Any]) -> RunContext:
    """Return the run of our driver; for upstream's ``buildout`` command, or a plain mapping in a test, a new one."""
    run = getattr(buildout, "run", None)
    if isinstance(run, RunContext):
        return run
    options = buildout["buildout"]
    folder = Path(options["directory"])
    instance = read_instance(folder)
    sources = Path(options.get("download-cache") or folder / ".allotment" / "sources")
    tokens = Tokens(load_key(folder / ".allotment" / "tokens.key") if instance is not None else b"")
    return RunContext(folder, Journal(immediate=True), sources, tokens, instance=instance)
