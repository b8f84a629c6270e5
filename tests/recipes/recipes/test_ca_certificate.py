# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``ca.certificate`` and what keeps the certificate; openssl judges."""

import datetime
import json
import os
import re
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from allotment.errors import AllotmentError
from allotment_recipes.crontab import read_entries
from allotment_recipes.programs.certificate import Keeper, Settings
from allotment_recipes.recipes import ca_certificate

Make = Callable[..., Any]
OPTIONS = {"key-file": "etc/site.key", "cert-file": "etc/site.crt"}


def openssl(folder: Path, *words: str, text: str = "") -> str:
    done = subprocess.run(
        ["openssl", *words], cwd=folder, input=text, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


class Partition:
    """A certificate that is kept at times of the test's choice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.key, self.cert = folder / "site.key", folder / "site.crt"
        self.settings: dict[str, Any] = {"ca_path": folder / "ca", "on_renew": f"echo renewed >> {folder}/note"}

    def keeper(self, days: float = 0.0, **settings: Any) -> Keeper:
        given = {**self.settings, **settings}
        names = given.pop("names", ("site.example", "127.0.0.1", "::1"))
        return Keeper(
            Settings("site", self.key, self.cert, "site", names, **given), self.now + datetime.timedelta(days=days)
        )

    def keep(self, days: float = 0.0, **settings: Any) -> str:
        return self.keeper(days, **settings).keep()

    @property
    def notes(self) -> int:
        path = self.folder / "note"
        return path.read_text().count("renewed") if path.exists() else 0


@pytest.fixture
def kept(tmp_path: Path) -> Partition:
    return Partition(tmp_path)


def test_the_own_authority_signs_what_openssl_accepts(kept: Partition) -> None:
    assert kept.keeper().check() == f"{kept.cert} is not there yet"
    assert kept.keep() == f"is new, until {kept.now + datetime.timedelta(days=90):%Y-%m-%d %H:%M}"
    for name in ("-verify_hostname site.example", "-verify_ip 127.0.0.1", "-verify_ip ::1"):
        verified = openssl(
            kept.folder,
            "verify",
            "-x509_strict",
            "-CAfile",
            "ca/ca.crt",
            *name.split(),
            "-purpose",
            "sslserver",
            "site.crt",
        )
        assert verified == "site.crt: OK\n"
    assert openssl(kept.folder, "pkey", "-in", "site.key", "-pubout") == openssl(
        kept.folder, "x509", "-in", "site.crt", "-noout", "-pubkey"
    )
    private = {kept.key, kept.folder / "ca/ca.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    holders = {path for path in kept.folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()}
    assert holders == private
    assert stat.S_IMODE((kept.folder / "ca").stat().st_mode) == 0o700
    assert kept.keeper().check() == ""
    assert kept.notes == 0, "nobody uses the first one yet"


def test_it_is_renewed_in_time_and_the_command_runs_once(kept: Partition) -> None:
    kept.keep()
    first, key = kept.cert.read_bytes(), kept.key.read_bytes()
    assert kept.keep(59.9).startswith("is valid until")
    assert kept.cert.read_bytes() == first
    assert kept.keeper(80).check().startswith("it ends at ")
    assert kept.keep(60.1).startswith("is new")
    assert kept.cert.read_bytes() != first
    assert kept.key.read_bytes() == key
    for day in (60.2, 61.0):
        assert kept.keep(day).startswith("is valid until")
    assert kept.notes == 1


def test_a_command_that_fails_is_run_again(kept: Partition) -> None:
    kept.keep()
    fails = f"test -e {kept.folder}/ready && echo renewed >> {kept.folder}/note"
    for _ in range(2):
        with pytest.raises(AllotmentError, match=r"on-renew ended with exit code 1\. It is run again the next time"):
            kept.keep(61, on_renew=fails)
    (kept.folder / "ready").touch()
    for _ in range(2):
        kept.keep(61, on_renew=fails)
    assert kept.notes == 1


def test_other_names_or_another_key_need_another_certificate(kept: Partition) -> None:
    kept.keep()
    assert kept.keep(names=("other.example",)).startswith("is new")
    assert "other.example" in openssl(kept.folder, "x509", "-in", "site.crt", "-noout", "-text")
    kept.key.unlink()
    assert kept.keep(names=("other.example",)).startswith("is new")
    kept.cert.write_text("-----BEGIN CERTIFICATE-----\nhalf")
    assert kept.keep(names=("other.example",)).startswith("is new")
    kept.key.write_text("nonsense")
    with pytest.raises(AllotmentError, match=r"site.key holds no key. Remove it for a new one"):
        kept.keep()


def test_the_authority_gets_a_new_certificate_for_the_same_key_in_time(kept: Partition) -> None:
    kept.keep()
    before, old = (kept.folder / "ca/ca.key").read_bytes(), kept.cert.read_bytes()
    kept.keep(3700)
    assert (kept.folder / "ca/ca.key").read_bytes() == before
    authority, leaf = (
        x509.load_pem_x509_certificate((kept.folder / name).read_bytes()) for name in ("ca/ca.crt", "site.crt")
    )
    leaf.verify_directly_issued_by(authority)
    x509.load_pem_x509_certificate(old).verify_directly_issued_by(authority)
    assert leaf.not_valid_after_utc < authority.not_valid_after_utc


class Authority:
    """Somebody else who signs requests with openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        folder.mkdir()
        words = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]
        openssl(folder, "req", "-x509", "-days", "9999", "-subj", f"/CN={name}", *words)

    def sign(self, folder: Path, days: int) -> None:
        words = ["-CA", "ca.crt", "-CAkey", "ca.key", "-copy_extensions", "copy", "-days", str(days)]
        openssl(self.folder, "x509", "-req", "-in", str(folder / "site.csr"), *words, "-out", str(folder / "site.crt"))
        request = (folder / "site.csr").stat().st_mtime
        os.utime(folder / "site.crt", (request + 1, request + 1))


def test_a_request_is_signed_by_somebody_else(kept: Partition, tmp_path: Path) -> None:
    authority, wrong = Authority(tmp_path / "theirs", "theirs"), Authority(tmp_path / "wrong", "theirs")
    folder = tmp_path / "requests"
    kept.settings |= {"ca_path": None, "request_folder": folder, "ca_file": tmp_path / "theirs/ca.crt"}
    assert kept.keep() == f"waits for {folder}/site.crt"
    request = (folder / "site.csr").read_bytes()
    assert kept.keep() == f"waits for {folder}/site.crt"
    assert (folder / "site.csr").read_bytes() == request, "it is open still"
    assert b"PRIVATE" not in request
    wrong.sign(folder, 90)
    with pytest.raises(
        AllotmentError, match=r"site.crt is not signed by the authority. Sign the request with the right"
    ):
        kept.keep()
    assert not kept.cert.exists()
    authority.sign(folder, 90)
    assert kept.keep().startswith("is new")
    assert (
        openssl(tmp_path, "verify", "-CAfile", "theirs/ca.crt", "-verify_hostname", "site.example", "site.crt")
        == "site.crt: OK\n"
    )
    assert kept.keep(61) == f"waits for {folder}/site.crt"
    assert (folder / "site.csr").read_bytes() != request, "it is open again"
    authority.sign(folder, 200)
    assert kept.keep(61).startswith("is new")
    assert (kept.keep(61), kept.notes) == (kept.keep(61), 1)


def test_a_signer_whose_clock_is_a_little_ahead_is_believed(kept: Partition, tmp_path: Path) -> None:
    authority, folder = Authority(tmp_path / "theirs", "theirs"), tmp_path / "requests"
    kept.settings |= {"ca_path": None, "request_folder": folder}
    kept.keep()
    authority.sign(folder, 90)
    minutes = 1 / 1440
    assert kept.keep(-6 * minutes).startswith("waits for ")
    authority.sign(folder, 90)
    assert kept.keep(-4 * minutes).startswith("is new")


def test_what_the_recipe_writes_does_it_all(make_recipe: Make, tmp_path: Path) -> None:
    options = {
        **OPTIONS,
        "ca-path": "ca",
        "names": "a.example 127.0.0.1",
        "on-renew": "true 'x'",
        "days": "9",
        "cron-entries": "jobs",
    }
    made = make_recipe(
        ca_certificate.Recipe, {**options, "name": "site", "common-name": "--The site", "renew-before": "2"}
    )
    run, job, promise = made.install()
    assert (
        [run, job, promise]
        == [
            tmp_path / "etc/run/site-certificate",
            tmp_path / "jobs/site-certificate",
            tmp_path / "etc/promise/site-certificate.json",
        ]
        == made.update()
    )
    file = json.loads(promise.read_bytes())
    check = shlex.split(file["options"]["command"])
    assert (file["type"], file["period"]) == ("check_command_execute", 3600.0)
    assert subprocess.run(check, capture_output=True, timeout=30, check=False).returncode == 1
    assert subprocess.run([run], capture_output=True, timeout=30, check=True).stdout.startswith(b"site: is new, until ")
    assert subprocess.run(check, capture_output=True, timeout=30, check=True).stdout == b"site: is valid\n"
    (entry,) = read_entries("x", job.read_text())
    assert not isinstance(entry, str)
    done = subprocess.run(["/bin/sh", "-c", entry.command], capture_output=True, timeout=30, check=True)
    assert done.stdout.startswith(b"site: is valid until ")
    assert "--The site" in openssl(tmp_path, "x509", "-in", made.raw["cert-file"], "-noout", "-subject")
    assert (made.raw["key-file"], made.raw["ca-file"]) == (str(tmp_path / "etc/site.key"), str(tmp_path / "ca/ca.crt"))
    run, job, promise = make_recipe(
        ca_certificate.Recipe, {**OPTIONS, "request-folder": "r", "ca-file": "theirs"}
    ).install()
    words = f"--request-folder {tmp_path}/r --ca-file {tmp_path}/theirs --days 90 --renew-before 30"
    assert words in run.read_text()
    assert job.read_text().startswith("*/5 * * * * "), "the answer may come at any time"
    assert json.loads(promise.read_bytes())["period"] == 300.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] ca-path, request-folder, cert-content: none of them is given. Give one of them."),
        ({"ca-path": "a", "ca-file": "c"}, "[part] ca-file: is that of whoever signs the request, and ca-path signs here. Remove it, or give request-folder in place of ca-path."),
        ({"ca-path": "a", "name": "a/b"}, "[part] name: 'a/b' is not a name. Use letters, digits, '-', '.', '_'."),
        ({"ca-path": "a", "common-name": "x" * 65, "names": "a"}, f"[part] common-name: '{'x' * 65}' has not 1 to 64 characters. Shorten it."),
        ({"ca-path": "a", "names": "a_b -x"}, "[part] names: '-x' is neither a host's name nor an address. Write it like shop.example."),
        ({"ca-path": "a", "names": "a..b"}, "[part] names: 'a..b' is neither a host's name nor an address. Write it like shop.example."),
        ({"ca-path": "a", "names": "1:2"}, "[part] names: '1:2' is neither a host's name nor an address. Write it like shop.example."),
        ({"ca-path": "a", "common-name": "The site"}, "[part] names: 'The site' is neither a host's name nor an address. Give names."),
        ({"ca-path": "a", "cert-file": "etc/site.key"}, "[part] cert-file: is the key-file. Give each a file of its own."),
        ({"ca-path": "a", "renew-before": "90"}, "[part] renew-before: 90 is not from 0 to days. Leave it out."),
        ({"ca-path": "a", "days": "-1"}, "[part] days: -1 is not from 0 to 3650. Write it like 90."),
        ({"ca-path": "a", "days": "1e9"}, "[part] days: 1e+09 is not from 0 to 3650. Write it like 90."),
        ({"ca-path": "a", "on-renew": "a\nb"}, "[part] on-renew: is not one line of text. Write more than one line to a script."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(ca_certificate.Recipe, {**OPTIONS, **options})


def test_a_program_waits_for_both_files(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = site
        [site]
        recipe = allotment.recipes:ca.certificate
        key-file = etc/site.key
        cert-file = etc/site.crt
        ca-path = srv/ca
        executable = bin/site
        wrapper = etc/service/site
        """
    partition.run_twice(profile)
    (partition.folder / "bin").mkdir()
    program = partition.folder / "bin/site"
    program.write_text(f"#!/bin/sh\ncat {partition.folder}/etc/site.crt\n")
    program.chmod(0o755)
    with subprocess.Popen([partition.folder / "etc/service/site"], stdout=subprocess.PIPE, text=True) as waiting:
        subprocess.run([partition.folder / "etc/run/site-certificate"], check=True, timeout=60)
        said, _ = waiting.communicate(timeout=60)
    assert said.startswith("-----BEGIN CERTIFICATE-----")
    assert "etc/service/site" in partition.remove("site")


def test_a_certificate_may_be_given(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = site
        [site]
        recipe = allotment.recipes:ca.certificate
        key-file = etc/site.key
        cert-file = etc/site.crt
        cert-content =
          certificate
          chain
        key-content = pl4nted
        """
    partition.run_twice(profile)
    assert partition.text("etc/site.key") == "pl4nted\n"
    assert stat.S_IMODE((partition.folder / "etc/site.key").stat().st_mode) == 0o600
    assert partition.text("etc/site.crt") == "certificate\nchain\n"
    assert "pl4nted" not in partition.text(".installed.cfg")
    assert partition.remove("site") == ["etc/site.crt", "etc/site.key"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cert-content": "x"}, "cert-content, key-content: key-content is missing. Give all of them, or none."),
        ({"ca-path": "ca", "cert-content": "x", "key-content": "y"}, "ca-path and cert-content can't go together."),
        ({"ca-path": "ca", "executable": "x"}, "executable, wrapper: wrapper is missing. Give all of them, or none."),
    ],
)
def test_options_that_belong_together_are_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(ca_certificate.Recipe, {**OPTIONS, **options})
