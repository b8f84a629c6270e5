# SPDX-License-Identifier: Apache-2.0
"""``readers.py PORT PATH READERS SECONDS``: many who read one page again and again, each on a connection of its own.

One thread with all connections, so that the readers take little of what the server needs. Prints one object: how many
whole answers came and of how many bytes, their median and worst latency, those that were ``lost``, because none came in
20 s or the connection ended, and what is no 200.
"""

import json
import selectors
import socket
import statistics
import sys
import time
from dataclasses import dataclass

GIVEN_UP = 20.0  # seconds


@dataclass(eq=False)
class Reader:
    """One connection, with an answer under way."""

    port: int
    request: bytes
    socket: socket.socket
    asked: float = 0.0
    received: bytes = b""
    size: int = 0  # of the whole answer; 0 while that is not known

    @staticmethod
    def connect(port: int, request: bytes) -> "Reader":
        return Reader(port, request, socket.create_connection(("127.0.0.1", port)))

    def ask(self) -> None:
        self.received, self.size, self.asked = b"", 0, time.perf_counter()
        self.socket.sendall(self.request)

    def read(self) -> bool:
        """Take what has come; True when the answer is whole. An end before that is a ConnectionError."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError
        self.received += data
        if not self.size:
            head, _, _ = self.received.partition(b"\r\n\r\n")
            if len(head) == len(self.received):
                return False
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if b"content-length" not in fields:  # chunked
                return self.received.endswith(b"\r\n0\r\n\r\n")
            self.size = len(head) + 4 + int(fields[b"content-length"])
        return len(self.received) >= self.size


class Crowd:
    """All readers."""

    def __init__(self, port: int, path: str, count: int) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        self._selector = selectors.DefaultSelector()
        self._readers = {Reader.connect(port, request) for _ in range(count)}
        self.latencies: list[float] = []
        self.sizes: set[int] = set()  # bytes of answers
        self.lost = 0
        self.refused = 0
        for reader in self._readers:
            self._begin(reader)

    def run(self, seconds: float) -> float:
        """Read for so long, then wait for what was asked for; return how long it was."""
        started = time.perf_counter()
        while self._readers:
            is_over = time.perf_counter() - started > seconds
            for key, _ in self._selector.select(0.05):
                self._take(key.data, is_over)
            self._give_up(is_over)
        return time.perf_counter() - started

    def _begin(self, reader: Reader) -> None:
        self._selector.register(reader.socket, selectors.EVENT_READ, reader)
        reader.ask()

    def _take(self, reader: Reader, is_over: bool) -> None:
        try:
            if not reader.read():
                return
        except OSError:
            self._lose(reader, is_over)
            return
        self.latencies.append(time.perf_counter() - reader.asked)
        self.sizes.add(len(reader.received))
        self.refused += not reader.received.startswith(b"HTTP/1.1 200 ")
        if is_over:
            self._end(reader)
        else:
            reader.ask()

    def _give_up(self, is_over: bool) -> None:
        now = time.perf_counter()
        for reader in [item for item in self._readers if now - item.asked > GIVEN_UP]:
            self._lose(reader, is_over)

    def _lose(self, reader: Reader, is_over: bool) -> None:
        self.lost += 1
        self._end(reader)
        if not is_over:
            another = Reader.connect(reader.port, reader.request)
            self._readers.add(another)
            self._begin(another)

    def _end(self, reader: Reader) -> None:
        self._selector.unregister(reader.socket)
        reader.socket.close()
        self._readers.discard(reader)


if __name__ == "__main__":
    crowd = Crowd(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    took = crowd.run(float(sys.argv[4]))
    print(
        json.dumps(
            {
                "per_second": round(len(crowd.latencies) / took, 1),
                "median_ms": round(statistics.median(crowd.latencies) * 1000, 2),
                "worst_ms": round(max(crowd.latencies) * 1000, 1),
                "answers": len(crowd.latencies),
                "bytes": [min(crowd.sizes), max(crowd.sizes)],
                "lost": crowd.lost,
                "refused": crowd.refused,
            }
        )
    )
