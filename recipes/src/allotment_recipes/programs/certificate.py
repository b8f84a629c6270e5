# SPDX-License-Identifier: Apache-2.0
"""Keep a key and its certificate: make, request, renew, and tell who uses them.

    python -m allotment_recipes.programs.certificate --name NAME --key-file FILE --cert-file FILE
        (--ca-path FOLDER | --request-folder FOLDER [--ca-file FILE]) [--subject TEXT] [--for NAME]... [--days N]
        [--renew-before N] [--on-renew COMMAND] [--check]

The key is made here and never leaves. With ``--ca-path`` an authority of the partition's own signs, which is made at
the first use. With ``--request-folder`` the request is ``NAME.csr`` there, and whoever signs it puts ``NAME.crt``
beside it; a request is open while it is newer than the answer. Runs may be killed at any moment, and repeated.
"""

import argparse
import datetime
import fcntl
import ipaddress
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError

_LIMIT: Final = 1 << 20  # bytes of a file
_AUTHORITY_DAYS: Final = 3650
_SKEW: Final = datetime.timedelta(minutes=5)  # by which the clocks of machines may differ
_PATIENCE: Final = 300.0  # seconds for the command after a renewal


@dataclass(frozen=True)
class Settings:
    """What is kept, and how."""

    name: str
    key_file: Path
    cert_file: Path
    subject: str
    names: tuple[str, ...]  # DNS names and addresses
    ca_path: Path | None = None
    request_folder: Path | None = None
    ca_file: Path | None = None
    days: float = 90.0
    renew_before: float = 30.0  # days
    on_renew: str = ""


class Keeper:
    """Brings key and certificate to what the settings say, at a time that the caller gives."""

    def __init__(self, settings: Settings, now: datetime.datetime) -> None:
        self._settings = settings
        self._now = now
        self._told_file = settings.cert_file.with_name(f".{settings.cert_file.name}.told")

    def keep(self) -> str:
        """Do what is to be done, and return what was found or done."""
        self._told_file.parent.mkdir(parents=True, exist_ok=True)
        with self._told_file.with_suffix(".lock").open("w") as lock:  # cron may run it while the node does
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._keep()

    def _keep(self) -> str:
        settings = self._settings
        key = _key(settings.key_file)
        current = _certificates(settings.cert_file)
        if current and self._problem(current[0], key, settings.renew_before) == "":
            text = f"is valid until {current[0].not_valid_after_utc:%Y-%m-%d %H:%M}"
        else:
            issued = self._issue(key) if settings.ca_path is not None else self._collect(key, current)
            if not issued:
                return f"waits for {settings.request_folder}/{settings.name}.crt"
            if not current:  # nobody uses it yet; noted first, for the case that we are killed in between
                self._note_told(issued)
            write_bytes(settings.cert_file, _text(issued), 0o644)
            text, current = f"is new, until {issued[0].not_valid_after_utc:%Y-%m-%d %H:%M}", issued
        self._tell(current)
        return text

    def check(self) -> str:
        """Return what is wrong with the certificate now; nothing when all is well."""
        current = _certificates(self._settings.cert_file)
        if not current or not self._settings.key_file.exists():
            return f"{self._settings.cert_file} is not there yet"
        return self._problem(current[0], _key(self._settings.key_file), self._settings.renew_before / 2)

    def _problem(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, days: float) -> str:
        left = certificate.not_valid_after_utc - self._now
        if certificate.public_key() != key.public_key():
            return "it is not the certificate of the key"
        if certificate.not_valid_before_utc > self._now + _SKEW:
            return f"it is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} only"
        if not set(self._names()) <= set(_names_of(certificate)):
            return "it is not for all names"
        if left <= datetime.timedelta(days=days):
            return f"it ends at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        return ""

    def _issue(self, key: ec.EllipticCurvePrivateKey) -> list[x509.Certificate]:
        """Sign by the partition's own authority."""
        settings = self._settings
        assert settings.ca_path is not None
        settings.ca_path.mkdir(parents=True, exist_ok=True)
        settings.ca_path.chmod(0o700)
        with (settings.ca_path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            authority_key = _key(settings.ca_path / "ca.key")
            authority = self._authority(settings.ca_path / "ca.crt", authority_key)
        end = min(self._now + datetime.timedelta(days=settings.days), authority.not_valid_after_utc)
        usage = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = (
            self._builder(_subject(settings.subject), authority.subject, key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.SubjectAlternativeName(self._names()), critical=False)
            .add_extension(subject_key, critical=False)
            .add_extension(issuer_key, critical=False)
        )
        return [builder.sign(authority_key, hashes.SHA256())]

    def _authority(self, path: Path, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """Return the authority's certificate; before it is too old to sign, the same key gets another one."""
        found = _certificates(path)
        needed = self._now + datetime.timedelta(days=self._settings.days)
        if found and found[0].not_valid_after_utc >= needed and found[0].public_key() == key.public_key():
            return found[0]
        subject = found[0].subject if found else _subject(f"{self._settings.ca_path} {self._now:%Y-%m-%d}"[-64:])
        end = self._now + datetime.timedelta(days=_AUTHORITY_DAYS + self._settings.days)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            self._builder(subject, subject, key, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_authority=True), critical=True)
            .add_extension(subject_key, critical=False)
        )
        made = builder.sign(key, hashes.SHA256())
        write_bytes(path, _text([made]), 0o644)
        return made

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime.datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(self._now - _SKEW).not_valid_after(end)

    def _collect(self, key: ec.EllipticCurvePrivateKey, current: list[x509.Certificate]) -> list[x509.Certificate]:
        """Return the answer to our request, or nothing, having seen to it that the request is open."""
        settings = self._settings
        assert settings.request_folder is not None
        answer = settings.request_folder / f"{settings.name}.crt"
        found = _certificates(answer)
        if found and found != current and self._problem(found[0], key, 0.0) == "":
            if settings.ca_file is not None:
                _verify(answer, found, _certificates(settings.ca_file))
            return found
        request = settings.request_folder / f"{settings.name}.csr"
        if not self._is_open(request, answer, key):
            builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(settings.subject))
            builder = builder.add_extension(x509.SubjectAlternativeName(self._names()), critical=False)
            text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            request.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(request, text, 0o644)
        return []

    def _is_open(self, request: Path, answer: Path, key: ec.EllipticCurvePrivateKey) -> bool:
        data = read_limited(request, _LIMIT)
        try:
            found = x509.load_pem_x509_csr(data or b"")
            if found.public_key() != key.public_key() or set(_names_of(found)) != set(self._names()):
                return False
        except ValueError:
            return False
        return not answer.exists() or request.stat().st_mtime_ns > answer.stat().st_mtime_ns

    def _names(self) -> list[x509.GeneralName]:
        return [_general_name(name) for name in self._settings.names or (self._settings.subject,)]

    def _tell(self, current: list[x509.Certificate]) -> None:
        """Run the command for a renewed certificate, until it has succeeded once."""
        digest = current[0].fingerprint(hashes.SHA256()).hex()
        if (read_limited(self._told_file, _LIMIT) or b"").decode(errors="replace") == digest:
            return
        if self._settings.on_renew:
            try:
                code = subprocess.run(
                    ["/bin/sh", "-c", self._settings.on_renew], timeout=_PATIENCE, check=False
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise AllotmentError(f"on-renew did not end within {_PATIENCE:.0f} s", "Mend the command") from error
            if code:
                raise AllotmentError(f"on-renew ended with exit code {code}", "It is run again the next time")
        self._note_told(current)

    def _note_told(self, certificates: list[x509.Certificate]) -> None:
        write_bytes(self._told_file, certificates[0].fingerprint(hashes.SHA256()).hex().encode(), 0o600)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a file, readable by its owner only, making it at the first call."""
    data = read_limited(path, _LIMIT)
    if data is None:
        made = ec.generate_private_key(ec.SECP256R1())
        kind, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, made.private_bytes(serialization.Encoding.PEM, kind, nothing), 0o600)
        return made
    try:
        found = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise AllotmentError(f"{path} holds no key", "Remove it for a new one") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise AllotmentError(f"{path} is not a key on an elliptic curve", "Remove it for a new one")
    path.chmod(0o600)
    return found


def _certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a file; none when it is not there or not whole."""
    try:
        return x509.load_pem_x509_certificates(read_limited(path, _LIMIT) or b"")
    except ValueError:
        return []


def _verify(path: Path, chain: list[x509.Certificate], authorities: list[x509.Certificate]) -> None:
    """Raise unless each certificate is signed by the next one, and the last by an authority."""
    for certificate, issuers in zip(chain, [*([item] for item in chain[1:]), authorities], strict=True):
        if not any(_is_issued_by(certificate, issuer) for issuer in issuers):
            raise AllotmentError(f"{path} is not signed by the authority", "Sign the request with the right key")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names_of(found: x509.Certificate | x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _text(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def main(arguments: list[str] | None = None) -> int:
    """Keep the certificate, or with ``--check`` say whether it is kept."""
    parser = argparse.ArgumentParser(prog="certificate", allow_abbrev=False)
    parser.add_argument("--name", required=True)
    for name in ("--key-file", "--cert-file"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--ca-path", "--request-folder", "--ca-file"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--for", dest="names", action="append", default=[])
    parser.add_argument("--days", type=float, default=90.0)
    parser.add_argument("--renew-before", type=float, default=30.0)
    parser.add_argument("--on-renew", default="")
    parser.add_argument("--check", action="store_true")
    options = vars(parser.parse_args(arguments))
    is_check, names = options.pop("check"), tuple(options.pop("names"))
    keeper = Keeper(Settings(names=names, **options), datetime.datetime.now(datetime.UTC))
    try:
        problem = keeper.check() if is_check else ""
        text = "is valid" if is_check else keeper.keep()
    except (AllotmentError, OSError) as error:
        problem = str(error)
    sys.stdout.write(f"{options['name']}: {problem or text}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
