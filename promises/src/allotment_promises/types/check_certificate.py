# SPDX-License-Identifier: Apache-2.0
"""Promise: a certificate in a file is valid for some time yet, and its private key belongs to it."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.certificates import parsed, seconds_left, validity_problem


@dataclass(frozen=True)
class Options:
    certificate: Path  # PEM file of a certificate, and of those that lead to its authority; relative to the partition
    key: Path | None = None  # PEM file of its private key, which may be the same file
    certificate_expiration_days: float = 15.0  # it must be valid for so many days yet


class CheckCertificate(GenericPromise[Options]):
    """Passes when all that ``certificate`` holds is valid for ``certificate-expiration-days`` and fits ``key``.

    Metrics: ``expires_in``, seconds until the first certificate expires.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return str(self.partition / self.options.certificate)

    def sense(self) -> Measurement:
        name = self.options.certificate
        try:
            found = parsed(x509.load_pem_x509_certificates((self.partition / name).read_bytes()))
        except OSError as error:
            return Measurement.failed(f"{name} can't be read: {error.strerror}")
        except ValueError as error:
            return Measurement.failed(f"{name} holds no certificate that can be read: {error}")
        first = min(found, key=lambda item: item.not_valid_after_utc)
        metric = Metric(seconds_left(first), "s")
        problems = [validity_problem(item, self.options.certificate_expiration_days) for item in found]
        problem = next(filter(None, problems), "") or self._key_problem(found[0])
        if problem:
            return Measurement.failed(f"{name}: {problem}", expires_in=metric)
        return Measurement.passed(
            f"{name} is valid until {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", expires_in=metric
        )

    def _key_problem(self, certificate: x509.Certificate) -> str:
        """Return why the private key is not that of the certificate; empty when it is."""
        name = self.options.key
        if name is None:
            return ""
        try:
            key = load_pem_private_key((self.partition / name).read_bytes(), None)
        except OSError as error:
            return f"its key {name} can't be read: {error.strerror}"
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
            return f"{name} holds no key that can be used: {error}"
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
            return f"the key {name} belongs to another certificate"
        return ""
