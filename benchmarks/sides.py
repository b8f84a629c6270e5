# SPDX-License-Identifier: Apache-2.0
"""The two sides of the farm's benchmarks: ours and Buildbot, each over the same kinds of databases."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers, postgresql
from benchmarks.buildbot import Buildbot
from benchmarks.farm import Farm

POSTGRESQL = "postgresql"
SQLITE = "sqlite"


@dataclass(frozen=True)
class Sides:
    """Both farms, by the kind of their database; those of PostgreSQL are missing where that is."""

    ours: Mapping[str, Farm]
    peer: Mapping[str, Buildbot]  # empty when it can't be had
    peer_note: str

    @property
    def main(self) -> str:
        """The kind whose figures come first."""
        return POSTGRESQL if POSTGRESQL in self.ours else SQLITE


@contextmanager
def sides(folder: Path, *, only_main: bool = False, slow_peer: bool = True, poll: float = 5.0) -> Iterator[Sides]:
    """Run both farms while the block runs, all of them idle.

    ``only_main`` leaves out SQLite where PostgreSQL is here, ``slow_peer=False`` Buildbot over SQLite; ``poll`` is how
    many seconds our engines wait between two looks at git.
    """
    with postgresql.server() as server, ExitStack() as stack:
        farms, buildbots, note = {}, {}, f"{peers.BUILDBOT[0]}, measured in turn"
        kinds = [SQLITE] if server is None else [POSTGRESQL] if only_main else [POSTGRESQL, SQLITE]
        for kind in kinds:
            place = folder / kind
            place.mkdir()
            urls = [server.create(name) if server and kind == POSTGRESQL else "" for name in ("ours", "peer")]
            farms[kind] = stack.enter_context(Farm(place, urls[0], poll))
            if kind == POSTGRESQL or slow_peer or server is None:
                try:
                    buildbots[kind] = stack.enter_context(Buildbot(place, urls[1]))
                except peers.MissingError as error:
                    note = str(error)
        yield Sides(farms, buildbots, note)
