# SPDX-License-Identifier: Apache-2.0
"""For how long a certificate is valid yet."""

import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

_DAY = 86400.0  # seconds


def parsed(certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    """Return them; what is wrong inside one is a ValueError now: they parse themselves late."""
    try:
        for certificate in certificates:
            validity_problem(certificate, 0.0)
            certificate.public_key()
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    return certificates


def seconds_left(certificate: x509.Certificate) -> float:
    """Return how long it is valid yet; negative when it has expired."""
    return (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).total_seconds()


def validity_problem(certificate: x509.Certificate, days: float) -> str:
    """Return why it is not valid now and for ``days`` more; empty when it is."""
    subject = certificate.subject.rfc4514_string() or f"number {certificate.serial_number:x}"
    left = seconds_left(certificate)
    if certificate.not_valid_before_utc > datetime.datetime.now(datetime.UTC):
        return f"{subject} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    if left <= 0:
        return f"{subject} expired {-left / _DAY:.1f} days ago"
    if left < days * _DAY:
        return f"{subject} expires in {left / _DAY:.1f} days, expected at least {days:g}"
    return ""
