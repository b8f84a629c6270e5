# SPDX-License-Identifier: Apache-2.0
"""The node's folder: what is where."""

import json
import os
import stat
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.errors import AllotmentError
from allotment.program import FolderLock
from allotment_node import config

# supervisord's configuration gives these a meaning that can't be escaped inside a path.
_REFUSED: Final = '%#;"\n\r\\'


class NodeFolder:
    """Everything that a node keeps, by name; absolute, so that services can be told of it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        bad = sorted(set(_REFUSED) & set(str(self.root)))
        if bad:
            raise AllotmentError(f"the folder {str(self.root)!r} has {bad[0]!r} in its path", "Choose another folder")
        self.config = self.root / "node.toml"
        self.token = self.root / "node.token"
        self.ready = self.root / "node.json"
        self.lock = FolderLock(self.root, "agent.lock", 0o700)
        self.state = self.root / "state"  # only the agent writes here, no instance
        self.desired = self.state / "desired"
        self.observed = self.state / "observed"
        self.processed = self.state / "processed"
        self.manifests = self.state / "manifests"
        self.silences = self.state / "silences.json"
        self.reruns = self.state / "reruns"
        self.partitions = self.root / "partitions"
        self.software = self.root / "software"
        self.blobs = self.root / "blobs"
        self.store = self.root / "store"  # of built parts, for all releases
        self.logs = self.root / "log"
        self.service_logs = self.logs / "services"
        self.usage = self.root / "usage"
        self.supervisor = self.root / "supervisor"

    def create(self) -> None:
        """Make what is missing; nobody but this user may look into any of it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (
            self.state,
            self.desired,
            self.observed,
            self.processed,
            self.manifests,
            self.reruns,
            self.partitions,
            self.software,
            self.blobs,
            self.store,
            self.logs,
            self.service_logs,
            self.usage,
            self.supervisor,
        ):
            folder.mkdir(mode=0o700, exist_ok=True)

    def load_config(self) -> config.NodeConfig:
        """Read node.toml."""
        return config.load(self.config)

    def partition(self, name: str) -> Path:
        """Return a partition's directory."""
        return self.partitions / name

    def write_ready(self) -> None:
        """Announce that the agent is ready."""
        data = {"format": 1, "pid": os.getpid(), "folder": str(self.root)}
        atomic.write_bytes(self.ready, json.dumps(data).encode() + b"\n", 0o644, sync=False)


def remove_tree(path: Path) -> None:
    """Remove a tree with everything in it, read-only folders included; links are removed, never followed."""
    if not path.is_symlink() and path.is_dir():
        path.chmod(0o700)
        for folder, names, _ in os.walk(path):
            for item in (Path(folder, name) for name in names):  # before os.walk looks into them
                mode = item.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                    item.chmod(0o700)
        _remove_all(path)
    else:
        path.unlink(missing_ok=True)


def _remove_all(path: Path) -> None:
    """Remove a tree whose programs may still have been writing a moment ago."""
    import shutil

    for attempt in (1, 2, 3):
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            if attempt == 3:
                raise
