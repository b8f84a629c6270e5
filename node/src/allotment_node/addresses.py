# SPDX-License-Identifier: Apache-2.0
"""An address for each partition, without root: one block 127.x.y.0/24 a node, so that no two instances meet."""

import errno
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.errors import AllotmentError

_FIRST: Final = 64  # blocks are 127.64.0.0/24 to 127.127.255.0/24: below are addresses that people type
_COUNT: Final = 64 * 256


class AddressBlock:
    """The node's block, chosen once and kept in ``file``; claimed until :meth:`close`.

    The claim is an abstract socket: like the addresses it belongs to the network namespace, whatever user holds it,
    and the kernel drops it with the process. A block on which something listens, such as the services of a node whose
    agent is down, is passed over.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        kept = self._read()
        self._claim: socket.socket | None = None
        if kept is not None:
            self.block = kept
            self._claim = _claim(kept)
            if self._claim is None:
                raise AllotmentError(
                    f"the addresses {kept}.0/24 of {file} are in use by another node on this machine",
                    f"Stop the other node, or remove {file} if this folder is a copy",
                )
        else:
            self.block, self._claim = self._choose()
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write_bytes(file, json.dumps({"format": 1, "block": self.block}).encode() + b"\n", 0o600)
        self._check()

    def address(self, partition: str) -> str:
        """Return the address of ``part<number>``."""
        return f"{self.block}.{int(partition.removeprefix('part')) + 1}"

    def close(self) -> None:
        """Give the claim back."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _read(self) -> str | None:
        try:
            data = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise AllotmentError(
                f"{self._file} is not JSON: {error}", "Remove it; partitions get new addresses"
            ) from error
        if not isinstance(data, dict) or data.get("format") != 1 or not isinstance(data.get("block"), str):
            raise AllotmentError(f"{self._file} is not a block of addresses", "Remove it; partitions get new addresses")
        return data["block"]

    def _choose(self) -> tuple[str, socket.socket]:
        busy = set(_listening_blocks())
        for block in _blocks(f"{os.getuid()}:{self._file}"):
            claim = None if block in busy else _claim(block)
            if claim is not None:
                return block, claim
        raise AllotmentError("no block of loopback addresses is free on this machine", "Stop nodes that are not needed")

    def _check(self) -> None:
        with socket.socket() as probe:
            try:
                probe.bind((f"{self.block}.1", 0))
            except OSError as error:
                self.close()
                raise AllotmentError(
                    f"{self.block}.1 can't be bound: {error.strerror}",
                    "Give this machine a loopback device with 127.0.0.0/8",
                ) from error


def _blocks(identity: str) -> Iterator[str]:
    """Walk through all blocks once, from a place that differs from folder to folder."""
    start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4])
    for step in range(_COUNT):
        number = (start + step) % _COUNT
        yield f"127.{_FIRST + number // 256}.{number % 256}"


def _claim(block: str) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0allotment-node-{block}")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return claim


def _listening_blocks() -> Iterator[str]:
    """Yield the /24 block of every local address that has a TCP socket, whatever user's."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return  # not Linux, or hidden: the claim alone decides
    for line in lines:
        address = bytes.fromhex(line.split()[1].partition(":")[0])[::-1]
        yield ".".join(str(byte) for byte in address[:3])
