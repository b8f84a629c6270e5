# SPDX-License-Identifier: Apache-2.0
"""Recipe ``ca.certificate``: a key that is made here, and a certificate that is renewed in time."""

import importlib.util
import ipaddress
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from allotment.codec import dumps
from allotment.errors import AllotmentError
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem, Words, check_given_together, check_one_given
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.crontab import entry, read_schedule
from allotment_recipes.recipes.cron import require_cronsim
from allotment_recipes.scripts import program, refuse_secrets, write_script

_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_MOST_DAYS = 3650


@dataclass(frozen=True)
class Options:
    key_file: Path  # the key, made where it is missing, readable by its owner only
    cert_file: Path  # the certificate
    ca_path: Path | None = None  # folder of an authority of the partition's own, made at the first use
    request_folder: Path | None = None  # in place of ca-path: where the request is put, and the certificate comes to
    ca_file: Path | None = None  # with request-folder: the authority's certificate, by which answers are checked
    name: str = ""  # of the request, the promise and cron's job; default: the section's
    common_name: str = ""  # the certificate's subject; default: name
    names: Words = Words(())  # DNS names and addresses that it is for; default: common-name
    days: float = 90.0  # for which the authority of ca-path signs
    renew_before: float = 0.0  # days before the end; default: a third of days
    on_renew: str = ""  # for /bin/sh, once after each renewal: lets services read the certificate anew
    cron_entries: Path = Path("etc/cron.d")  # folder of cron's jobs: the recipe cron runs them
    executable: Path | None = None  # program that needs both files
    wrapper: Path | None = None  # script, for etc/service or bin, that waits for them and starts it
    cert_content: str = ""  # in place of ca-path: a certificate that somebody else renews, in the form PEM
    key_content: Secret | None = None  # with cert-content: its key

    def __post_init__(self) -> None:
        sources = {"ca_path": self.ca_path, "request_folder": self.request_folder}
        check_one_given(**sources, cert_content=self.cert_content.strip())
        check_given_together(executable=self.executable, wrapper=self.wrapper)
        check_given_together(cert_content=self.cert_content.strip(), key_content=self.key_content)
        if self.ca_file is not None and self.request_folder is None:
            problem = "is that of whoever signs the request, and ca-path signs here"
            raise OptionProblem("ca-file", problem, "Remove it, or give request-folder in place of ca-path")


class Recipe(GenericBaseRecipe[Options]):
    """Keep a key and its certificate, at each processing and by cron, and promise that it is valid.

    With ``ca-path`` the partition signs for itself: services of one instance trust ``${section:ca-file}``. With
    ``request-folder`` the request ``<name>.csr`` is signed by whoever has the authority's key and puts ``<name>.crt``
    beside it; cron looks for that every five minutes. The key never leaves. A service waits for its certificate by
    ``wrapper``, or with the option ``wait-for-files`` of the recipe of that name. Key and certificate stay when the
    section goes. With ``cert-content`` both files are written as they are given, and nothing is promised of them.
    """

    def prepare(self) -> None:
        options = self.options
        require_cronsim(self.name)
        if importlib.util.find_spec("cryptography") is None:
            raise AllotmentError(
                f"[{self.name}] needs the Python package cryptography, which is not installed",
                "Install it where buildout runs: pip install 'allotment.recipes[build]'",
            )
        self.certificate_name = options.name or self.name
        if not _NAME.fullmatch(self.certificate_name):
            raise OptionProblem(
                "name", f"{self.certificate_name!r} is not a name", "Use letters, digits, '-', '.', '_'"
            )
        if self.path(options.key_file) == self.path(options.cert_file):
            raise OptionProblem("cert-file", "is the key-file", "Give each a file of its own")
        self.subject = options.common_name or self.certificate_name
        if not 1 <= len(self.subject) <= 64 or not self.subject.isprintable():
            raise OptionProblem("common-name", f"{self.subject!r} has not 1 to 64 characters", "Shorten it")
        for name in options.names or (self.subject,):
            if not _is_host(name):
                problem = f"{name!r} is neither a host's name nor an address"
                raise OptionProblem("names", problem, "Write it like shop.example" if options.names else "Give names")
        if not 0 < options.days <= _MOST_DAYS:
            raise OptionProblem("days", f"{options.days:g} is not from 0 to {_MOST_DAYS}", "Write it like 90")
        self.before = options.renew_before or options.days / 3
        if not 0 < self.before < options.days:
            raise OptionProblem("renew-before", f"{self.before:g} is not from 0 to days", "Leave it out")
        refuse_secrets(self, "on-renew", options.on_renew)
        if options.on_renew and not options.on_renew.strip().isprintable():
            raise OptionProblem("on-renew", "is not one line of text", "Write more than one line to a script")
        self.publish_option("key-file", self.path(options.key_file))
        self.publish_option("cert-file", self.path(options.cert_file))
        if options.key_content is not None:  # kept out of logs and of what buildout records
            self.publish_option("key-content", self.run.tokens.token(options.key_content))
        if options.ca_path is not None:
            self.publish_option("ca-file", self.path(options.ca_path) / "ca.crt")

    def install(self) -> list[Path]:
        """Write what keeps the certificate, and the promise."""
        return [*self._keeping(), *self._starting()] if not self.options.cert_content.strip() else self._given()

    def _given(self) -> list[Path]:
        options = self.options
        assert options.key_content is not None
        key = self.write(options.key_file, f"{options.key_content.reveal().strip()}\n", 0o600, private=True)
        return [key, self.write(options.cert_file, f"{options.cert_content.strip()}\n"), *self._starting()]

    def _starting(self) -> list[Path]:
        options = self.options
        if options.executable is None or options.wrapper is None:
            return []
        words = [*program("launch"), "--wait-for", str(self.path(options.key_file))]
        words += ["--wait-for", str(self.path(options.cert_file)), "--", str(self.path(options.executable))]
        return [write_script(self, options.wrapper, words)]

    def _keeping(self) -> list[Path]:
        name, words = self.certificate_name, self._words()
        owner = self.run.instance.instance if self.run.instance is not None else str(self.folder)
        waits = self.options.request_folder is not None  # for whoever signs
        schedule = read_schedule("*/5 * * * *" if waits else "once-a-day", f"{owner} {name} certificate")
        check = {"command": shlex.join([*words, "--check"]), "timeout": 20.0}
        promise = PromiseFile("check_command_execute", check, period=300.0 if waits else 3600.0, timeout=25.0)
        return [
            write_script(self, f"etc/run/{name}-certificate", words),
            self.write(
                self.path(self.options.cron_entries) / f"{name}-certificate",
                entry(schedule, shlex.join(words), {}, ""),
                0o600,
            ),
            self.write(f"etc/promise/{name}-certificate.json", dumps(promise).decode() + "\n"),
        ]

    def _words(self) -> list[str]:
        options = self.options
        words = [*program("certificate"), "--name", self.certificate_name, f"--subject={self.subject}"]
        files = ("key_file", "cert_file", "ca_path", "request_folder", "ca_file")
        for option in files:
            path = getattr(options, option)
            if path is not None:
                words += [f"--{option.replace('_', '-')}", str(self.path(path))]
        for name in options.names:
            words += ["--for", name]
        words += ["--days", f"{options.days:g}", "--renew-before", f"{self.before:g}"]
        return [*words, f"--on-renew={options.on_renew.strip()}"] if options.on_renew.strip() else words


def _is_host(name: str) -> bool:
    if ":" not in name:
        return bool(_HOST.fullmatch(name)) and len(name) <= 253
    try:
        return "%" not in name and bool(ipaddress.IPv6Address(name))
    except ValueError:
        return False
