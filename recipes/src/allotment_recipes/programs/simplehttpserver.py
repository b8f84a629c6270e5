# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server for the files of one folder.

    python -m allotment_recipes.programs.simplehttpserver --base-path FOLDER (--listen HOST PORT | --socket PATH |
        --abstract NAME) [--cert-file FILE --key-file FILE] [--allow-write] [--index NAME] [--connections N]
        [--timeout SECONDS]

Each connection has a thread; those over the limit wait. A client that needs longer than the timeout for a request's
head, or for 256 KiB of a file, is cut off: slow ones can't keep all threads. Links are not followed, so that nothing
outside the folder is reached, whatever stands in it. SIGHUP reads the certificate anew.
"""

import argparse
import contextlib
import errno
import html
import http.server
import mimetypes
import os
import secrets
import signal
import socket
import socketserver
import ssl
import stat
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

_UPLOAD: Final = ".upload-"  # how the name of an unfinished file begins
_LARGEST: Final = 4 << 30  # bytes that are taken
_PIECE: Final = 1 << 18  # bytes
_LINGER: Final = 2.0  # seconds to wait for the rest of what is refused
_PATIENCE: Final = 64  # pieces of it that are read
_LONGEST: Final = 19  # digits of a length
_LOOK: Final = 0.1  # seconds between two looks for those who need longer


class Refused(Exception):
    """A request that gets an error as its answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Folder:
    """The files below a folder, reached step by step from its own handle."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, steps: list[str]) -> int:
        """Return a handle of the file or folder."""
        with self._folder(steps[:-1]) as parent:
            return _open_at(steps[-1] if steps else ".", os.O_RDONLY | os.O_NONBLOCK, parent)

    def put(self, steps: list[str], pieces: Iterable[bytes]) -> bool:
        """Write a file, whole or not at all; return whether it is new."""
        with self._folder(steps[:-1], make=True) as parent:
            temporary = f"{_UPLOAD}{secrets.token_hex(8)}"
            handle = _open_at(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                is_new = not os.access(steps[-1], os.F_OK, dir_fd=parent, follow_symlinks=False)
                os.rename(temporary, steps[-1], src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise
        return is_new

    @contextlib.contextmanager
    def _folder(self, steps: list[str], *, make: bool = False) -> Any:
        handle = os.dup(self._handle)
        try:
            for step in steps:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(step, 0o755, dir_fd=handle)
                inner = _open_at(step, os.O_RDONLY | os.O_DIRECTORY, handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)


def _open_at(name: str, flags: int, parent: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent)


def steps_of(target: str) -> list[str]:
    """Return the names on the way to what a request asks for; what would leave the folder is refused."""
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(target).path, errors="surrogateescape")
    except ValueError as error:  # such as http://[/
        raise Refused(HTTPStatus.BAD_REQUEST) from error
    if not path.startswith("/") or "\0" in path:
        raise Refused(HTTPStatus.BAD_REQUEST)
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps or any(step.startswith(_UPLOAD) for step in steps):
        raise Refused(HTTPStatus.NOT_FOUND)
    return steps


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    server_version = "allotment"
    sys_version = ""

    def setup(self) -> None:
        self.server.give_time(self.request)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()  # here, in the connection's own thread
        super().setup()

    def handle_one_request(self) -> None:
        self.server.give_time(self.request)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of requests that are answered."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of clients that make mistakes: anybody could fill the log."""

    def _answer(self, respond: Any) -> None:
        if self.command != "PUT" and ("Content-Length" in self.headers or "Transfer-Encoding" in self.headers):
            self.close_connection = True  # nobody reads it: it must not be taken for the next request
        try:
            respond()
        except Refused as refused:
            self._refuse(refused.status)
        except OSError as error:
            if isinstance(error, TimeoutError | ConnectionError):
                self.close_connection = True
                return
            known = {
                errno.ENOENT: HTTPStatus.NOT_FOUND,
                errno.ENOTDIR: HTTPStatus.NOT_FOUND,
                errno.ELOOP: HTTPStatus.NOT_FOUND,
                errno.ENXIO: HTTPStatus.NOT_FOUND,
                errno.ENAMETOOLONG: HTTPStatus.NOT_FOUND,
                errno.EACCES: HTTPStatus.FORBIDDEN,
                errno.EISDIR: HTTPStatus.CONFLICT,
                errno.ENOSPC: HTTPStatus.INSUFFICIENT_STORAGE,
                errno.EDQUOT: HTTPStatus.INSUFFICIENT_STORAGE,
            }
            self._refuse(known.get(error.errno or 0, HTTPStatus.INTERNAL_SERVER_ERROR))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.send_error(status)
        if self.command == "PUT":  # else closing would break the connection before the client has read our answer
            self.request.settimeout(_LINGER)
            with contextlib.suppress(OSError):
                for _ in range(_PATIENCE):
                    if not self.rfile.read1(_PIECE):
                        break

    def _get(self) -> None:
        steps = steps_of(self.path)
        handle = self.server.folder.open(steps)
        try:
            kind = os.fstat(handle).st_mode
            if stat.S_ISREG(kind):
                self._send_file(handle, steps[-1])
            elif stat.S_ISDIR(kind):
                self._send_folder(handle, steps)
            else:
                raise Refused(HTTPStatus.NOT_FOUND)
        finally:
            os.close(handle)

    def _send_folder(self, handle: int, steps: list[str]) -> None:
        parts = urllib.parse.urlsplit(self.path)
        if not parts.path.endswith("/"):
            location = f"{urllib.parse.quote(os.fsencode(steps[-1]))}/"
            self._send_head(HTTPStatus.MOVED_PERMANENTLY, {"Location": location})
            return
        with contextlib.suppress(FileNotFoundError):
            index = _open_at(self.server.index, os.O_RDONLY | os.O_NONBLOCK, handle)
            try:
                if stat.S_ISREG(os.fstat(index).st_mode):
                    self._send_file(index, self.server.index)
                    return
            finally:
                os.close(index)
        with os.scandir(handle) as found:
            names = sorted(
                f"{item.name}/" if item.is_dir(follow_symlinks=False) else item.name
                for item in found
                if not item.name.startswith(_UPLOAD)
            )
        lines = [
            f'<li><a href="./{urllib.parse.quote(os.fsencode(n))}">{html.escape(_shown(n))}</a></li>' for n in names
        ]
        title = html.escape(_shown("/".join(["", *steps, ""])))
        text = f"<!doctype html><title>{title}</title><h1>{title}</h1><ul>{''.join(lines)}</ul>\n".encode()
        self._send_head(HTTPStatus.OK, {"Content-Type": "text/html; charset=utf-8"}, len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _send_file(self, handle: int, name: str) -> None:
        status = os.fstat(handle)
        kind, encoding = mimetypes.guess_type(name)
        headers = {
            "Content-Type": kind if kind and not encoding else "application/octet-stream",
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        }
        self._send_head(HTTPStatus.OK, headers, status.st_size)
        left = status.st_size if self.command != "HEAD" else 0
        while left:
            piece = os.read(handle, min(left, _PIECE))
            if not piece:  # it became shorter; the client sees that something is missing
                raise ConnectionError("the file was cut")
            self.server.give_time(self.request)
            self.wfile.write(piece)
            left -= len(piece)

    def _put(self) -> None:
        if not self.server.is_writable:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
        steps = steps_of(self.path)
        if not steps or self.path.endswith("/"):
            raise Refused(HTTPStatus.CONFLICT)
        length = self.headers.get("Content-Length")
        if "Transfer-Encoding" in self.headers or length is None or not length.isascii() or not length.isdigit():
            raise Refused(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > _LONGEST or int(length) > _LARGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        is_new = self.server.folder.put(steps, self._body(int(length)))
        self._send_head(HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    def _body(self, left: int) -> Iterator[bytes]:
        while left:
            self.server.give_time(self.request)
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                raise ConnectionError("the client went away")
            yield piece
            left -= len(piece)

    def _send_head(self, status: HTTPStatus, headers: dict[str, str] | None = None, length: int = 0) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Listens, and gives each connection a thread."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("", 0), Handler)
        self.folder = Folder(options.base_path)
        self.index: str = options.index
        self.is_writable: bool = options.allow_write
        self._slots = threading.BoundedSemaphore(options.connections)
        self._timeout: float = options.timeout
        self._ends: dict[socket.socket, float] = {}  # when a connection is cut off, on the monotonic clock
        self._certificate = (options.cert_file, options.key_file)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if options.cert_file else None
        self.read_certificate()
        self.socket = _listen(options)

    def read_certificate(self) -> None:
        """Use the certificate as it is in its file now, for connections from now on."""
        if self._tls:
            self._tls.load_cert_chain(*self._certificate)

    def fileno(self) -> int:
        return self.socket.fileno()

    def give_time(self, connection: socket.socket) -> None:
        """Let a client go on, for a while: it begins a request, or a piece of a file."""
        self._ends[connection] = time.monotonic() + self._timeout

    def service_actions(self) -> None:
        """Cut off who had too much time; its thread sees the end of the connection."""
        now = time.monotonic()
        for connection, end in list(self._ends.items()):
            if end <= now:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, which the thread is using

    def get_request(self) -> tuple[socket.socket, Any]:
        while not self._slots.acquire(timeout=_LOOK):
            self.service_actions()
        try:
            connection, _ = self.socket.accept()
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except BaseException:
            self._slots.release()
            raise
        return connection, ("", 0)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends.pop(request, None)
            self._slots.release()

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but nothing of clients that go away or don't speak TLS."""
        error = sys.exception()
        if not isinstance(error, OSError):
            sys.stderr.write(f"simplehttpserver: {error!r}\n")


def _listen(options: argparse.Namespace) -> socket.socket:
    if options.listen:
        host, port = options.listen
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, int(port)), family=family, backlog=128)
    else:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if options.socket:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(options.socket).st_mode):
                    Path(options.socket).unlink()  # of the run before; anything else there is an error
        listening.bind(options.socket or f"\0{options.abstract}")
        listening.listen(128)
    return listening


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="simplehttpserver", allow_abbrev=False)
    parser.add_argument("--base-path", type=Path, required=True)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--listen", nargs=2, metavar=("HOST", "PORT"))
    place.add_argument("--socket")
    place.add_argument("--abstract")
    parser.add_argument("--cert-file")
    parser.add_argument("--key-file")
    parser.add_argument("--allow-write", action="store_true")
    parser.add_argument("--index", default="index.html")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=30.0)
    options = parser.parse_args(arguments)
    try:
        server = Server(options)
    except (OSError, ssl.SSLError) as error:
        where = " ".join(options.listen or [options.socket or f"@{options.abstract}"])
        sys.stderr.write(f"simplehttpserver: {error.filename or where}: {error.strerror}\n")
        return 1

    def reload(number: int, frame: object) -> None:
        try:
            server.read_certificate()
        except OSError as error:
            sys.stderr.write(f"simplehttpserver: the certificate can't be read, the one before stays: {error}\n")

    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
