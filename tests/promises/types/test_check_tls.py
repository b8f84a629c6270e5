# SPDX-License-Identifier: Apache-2.0
import datetime
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from allotment_promises import Measurement

Measure = Callable[..., Measurement]
DAY = datetime.timedelta(days=1)


@pytest.fixture
def serve_certificate(serve: Callable[..., str]) -> Callable[[trustme.LeafCert], int]:
    """Serve TLS with a certificate; returns the port."""

    def start(certificate: trustme.LeafCert) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return int(serve({}, context).rpartition(":")[2])

    return start


Serve = Callable[[trustme.LeafCert], int]


def check(measure: Measure, port: int, ca: Path | None, **options: object) -> Measurement:
    trust = {} if ca is None else {"ca": ca.name}
    return measure("check_tls", host="127.0.0.1", port=port, **trust, **options)


def test_a_good_certificate_passes(
    measure: Measure, serve_certificate: Serve, authority: trustme.CA, ca_file: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    port = serve_certificate(authority.issue_cert("127.0.0.1", "web.example", not_after=now + 20 * DAY))
    measured = check(measure, port, ca_file)
    assert measured.is_passed
    assert measured.message.startswith(f"127.0.0.1:{port} speaks TLSv1.3; its certificates are valid until ")
    assert measured.metrics["expires_in"].value == pytest.approx(20 * 86400, abs=600)
    assert check(measure, port, ca_file, server_name="web.example").is_passed
    soon = check(measure, port, ca_file, certificate_expiration_days=30)
    assert not soon.is_passed
    assert soon.message.endswith(" expires in 20.0 days, expected at least 30")


def test_a_certificate_of_another_name_fails(
    measure: Measure, serve_certificate: Serve, authority: trustme.CA, ca_file: Path
) -> None:
    port = serve_certificate(authority.issue_cert("web.example"))
    assert check(measure, port, ca_file, server_name="web.example").is_passed
    other = check(measure, port, ca_file, server_name="mail.example")
    assert (other.is_passed, other.message) == (
        False,
        f"127.0.0.1:{port}: Hostname mismatch, certificate is not valid for 'mail.example'",
    )


def test_an_expired_certificate_fails(
    measure: Measure, serve_certificate: Serve, authority: trustme.CA, ca_file: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    expired = authority.issue_cert("127.0.0.1", not_before=now - 9 * DAY, not_after=now - DAY)
    port = serve_certificate(expired)
    measured = check(measure, port, ca_file, certificate_expiration_days=0)
    assert measured == Measurement.failed(f"127.0.0.1:{port}: certificate has expired")


def test_the_chain_must_lead_to_a_trusted_authority(
    measure: Measure, serve_certificate: Serve, authority: trustme.CA, ca_file: Path
) -> None:
    between = authority.create_child_ca()
    port = serve_certificate(between.issue_cert("127.0.0.1"))
    assert check(measure, port, ca_file).is_passed, "the certificate between is sent along"
    assert "certificate" in check(measure, port, None).message
    assert not check(measure, port, None).is_passed
    stranger = serve_certificate(trustme.CA().issue_cert("127.0.0.1"))
    assert not check(measure, stranger, ca_file).is_passed


def test_each_certificate_up_to_the_authority_counts(
    measure: Measure, serve: Callable[..., str], authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    between = short_lived_authority(authority, 5)
    leaf = between.issue_cert("127.0.0.1")
    chain = (leaf.private_key_and_cert_chain_pem, between.cert_pem)
    (tmp_path / "chain.pem").write_bytes(b"".join(item.bytes() for item in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem")
    port = int(serve({}, context).rpartition(":")[2])
    soon = check(measure, port, ca_file)
    assert (soon.is_passed, soon.message) == (
        False,
        f"127.0.0.1:{port}: CN=between expires in 5.0 days, expected at least 15",
    )
    assert check(measure, port, ca_file, certificate_expiration_days=4).is_passed


def short_lived_authority(authority: trustme.CA, days: float) -> trustme.CA:
    """Return an authority that another one vouches for, for so many days only."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "between")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return trustme.CA.from_pem(made.public_bytes(Encoding.PEM), private)


def test_a_server_without_tls_or_none_at_all_fails(
    measure: Measure, serve: Callable[..., str], free_port: int, ca_file: Path
) -> None:
    port = int(serve({}).rpartition(":")[2])
    assert not check(measure, port, ca_file).is_passed
    assert check(measure, free_port, ca_file).message == f"127.0.0.1:{free_port}: [Errno 111] Connection refused"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "timed out" in check(measure, port, ca_file, timeout=0.2).message
    assert not check(measure, free_port, Path("missing.pem")).is_passed
