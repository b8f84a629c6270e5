# SPDX-License-Identifier: Apache-2.0
"""Recipe ``simplehttpserver``: the files of a folder over HTTP."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from allotment.options import OptionProblem, check_given_together, check_one_given
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.listening import check_port, check_socket, read_address
from allotment_recipes.scripts import program, write_script


@dataclass(frozen=True)
class Options:
    base_path: Path  # the folder that is served; links in it are not followed
    host: str = ""  # address to listen on, with port
    port: int = 0  # of host
    socketpath: Path | None = None  # unix socket to listen on, in place of host
    abstract: str = ""  # name of an abstract unix socket, in place of host
    cert_file: Path | None = None  # certificate, for HTTPS; SIGHUP makes the server read it anew
    key_file: Path | None = None  # key of the certificate
    allow_write: bool = False  # take files by PUT, from whoever reaches the server
    index: str = "index.html"  # file that answers for its folder; else the answer is a list of names
    max_connections: int = 64  # at once; more have to wait
    timeout: float = 30.0  # seconds that a client may need for a request's head, or for 256 KiB of a file
    wrapper: Path | None = None  # the service; default: etc/service/ and the section's name

    def __post_init__(self) -> None:
        check_one_given(host=self.host, socketpath=self.socketpath, abstract=self.abstract)
        check_given_together(cert_file=self.cert_file, key_file=self.key_file)


class Recipe(GenericBaseRecipe[Options]):
    """Serve the files below ``base-path``, and nothing else, by a small server of its own.

    Others refer to where it listens as ``${section:url}``. It asks nobody who he is: with ``allow-write`` it listens on
    a unix socket or on this machine only, unless there is a certificate.
    """

    def prepare(self) -> None:
        options = self.options
        self.script = self.path(options.wrapper or f"etc/service/{self.name}")
        self.publish_option("wrapper", self.script)
        if not options.index or "/" in options.index:
            raise OptionProblem("index", f"{options.index!r} is not a file's name", "Write it like index.html")
        if options.max_connections < 1:
            raise OptionProblem("max-connections", f"{options.max_connections} is not above zero", "Write it like 64")
        if not 0 < options.timeout <= 3600:
            raise OptionProblem("timeout", f"{options.timeout:g} is not from 0 to 3600", "Write seconds, like 30")
        scheme = "https" if options.cert_file else "http"
        if options.host:
            self.place: tuple[str, ...] = ("--listen", options.host, str(options.port))
            shown = f"[{options.host}]" if ":" in options.host else options.host
            self._check_address()
            self.publish_option("url", f"{scheme}://{shown}:{options.port}/")
        elif options.socketpath is not None:
            socket = self.path(options.socketpath)
            check_socket("socketpath", socket)
            self.place = (f"--socket={socket}",)
            self.publish_option("socketpath", socket)
            self.publish_option("url", f"{scheme}+unix://{quote(str(socket), safe='')}/")
        else:
            check_socket("abstract", options.abstract)
            if not options.abstract.isprintable():
                raise OptionProblem("abstract", f"{options.abstract!r} is not a name", "Write it like /shop/files")
            self.place = (f"--abstract={options.abstract}",)
            self.publish_option("url", f"{scheme}+unix://%00{quote(options.abstract, safe='')}/")

    def install(self) -> list[Path]:
        """Write the service."""
        options = self.options
        words = [*program("simplehttpserver"), "--base-path", str(self.path(options.base_path)), *self.place]
        words += [f"--index={options.index}", "--connections", str(options.max_connections)]
        words += ["--timeout", f"{options.timeout:g}"]
        if options.cert_file and options.key_file:
            words += ["--cert-file", str(self.path(options.cert_file)), "--key-file", str(self.path(options.key_file))]
        if options.allow_write:
            words.append("--allow-write")
        return [write_script(self, self.script, words)]

    def _check_address(self) -> None:
        options = self.options
        address = read_address("host", options.host)
        check_port("port", options.port)
        if options.allow_write and not address.is_loopback and options.cert_file is None:
            raise OptionProblem(
                "allow-write", f"{options.host} is open to others", "Add cert-file, or listen on a unix socket"
            )
