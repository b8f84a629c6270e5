# SPDX-License-Identifier: Apache-2.0
"""Speaking with supervisord over its unix socket, always with a timeout."""

import hashlib
import http.client
import logging
import os
import socket
import stat
import tempfile
import xmlrpc.client
from pathlib import Path
from typing import Any, Final
from xmlrpc.client import Fault

from allotment.errors import AllotmentError

__all__ = ["Fault", "SupervisordRPC", "socket_path"]
_log = logging.getLogger(__name__)
_LONGEST: Final = 90  # bytes; the kernel takes 107, and supervisord first binds a name with its pid behind


class SupervisordRPC:
    """Calls from any thread: each has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def call(self, method: str, *arguments: Any, timeout: float = 10.0) -> Any:
        """Call ``supervisor.<method>``; a Fault when it is refused, an OSError when supervisord is away."""
        transport = _UnixTransport(self.path, timeout)
        with xmlrpc.client.ServerProxy("http://supervisord/RPC2", transport) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
                raise ConnectionError(f"supervisord at {self.path}: {error}") from error

    def attempt(self, method: str, *arguments: Any) -> None:
        """Call; what supervisord refuses (already started, already gone, can't be spawned) its states will tell."""
        try:
            self.call(method, *arguments)
        except Fault as error:
            _log.debug("supervisord %s %s: %s", method, arguments, error.faultString)

    def is_alive(self) -> bool:
        """Whether supervisord answers and is not about to end."""
        try:
            return bool(self.call("getState")["statecode"] == 1)
        except OSError:
            return False
        except Fault:  # it is shutting down
            return False


def socket_path(folder: Path) -> Path:
    """Return where the socket is: in the folder, or, where that is too long for one, in a private place in /tmp."""
    inside = folder / "s.sock"
    if len(os.fsencode(inside)) <= _LONGEST:
        return inside
    private = Path(tempfile.gettempdir()) / f"allotment-{os.getuid()}"
    if len(os.fsencode(private)) > _LONGEST - 20:
        private = Path(f"/tmp/allotment-{os.getuid()}")
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise AllotmentError(f"{private} is not a private folder of this user", "Remove it, or set TMPDIR")
    return private / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}.sock"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("supervisord", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout)
