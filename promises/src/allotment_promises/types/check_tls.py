# SPDX-License-Identifier: Apache-2.0
"""Promise: a server shows a certificate that is trusted, is its own, and is valid for some time yet."""

import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.certificates import parsed, seconds_left, validity_problem
from allotment_promises.sensing.limits import check_above_zero, check_port
from allotment_promises.sensing.web import tls_context

_DER = 2  # ENCODING_DER of Python's own module _ssl


@dataclass(frozen=True)
class Options:
    host: str  # name or IP address to connect to
    port: int = 443  # TCP port on which TLS begins at once
    server_name: str = ""  # name or IP address that the certificate must be of; default: host
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition
    certificate_expiration_days: float = 15.0  # each certificate must be valid for so many days yet
    timeout: float = 5.0  # seconds

    def __post_init__(self) -> None:
        check_port(self.port)
        check_above_zero(timeout=self.timeout)


class CheckTls(GenericPromise[Options]):
    """Passes when ``host:port`` speaks TLS with a certificate of ``server-name`` that a trusted authority signed.

    The whole chain, up to the authority's own certificate, must be valid for ``certificate-expiration-days`` more.

    Metrics: ``seconds`` until TLS was spoken, ``expires_in``, seconds until the first of them expires.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        return f"{self.options.host}:{self.options.port}"

    def sense(self) -> Measurement:
        place, started = self.target(), time.monotonic()
        try:
            chain, version = self._greet()
        except ssl.SSLCertVerificationError as error:
            return Measurement.failed(f"{place}: {error.verify_message.rstrip('.')}")
        except (OSError, ValueError) as error:  # ValueError: an impossible name, a bad certificate
            return Measurement.failed(f"{place}: {error}")
        first = min(chain, key=seconds_left)
        metrics = {
            "seconds": Metric(time.monotonic() - started, "s"),
            "expires_in": Metric(seconds_left(first), "s"),
        }
        problem = validity_problem(first, self.options.certificate_expiration_days)
        if problem:
            return Measurement.failed(f"{place}: {problem}", **metrics)
        until = f"{first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return Measurement.passed(f"{place} speaks {version}; its certificates are valid until {until}", **metrics)

    def _greet(self) -> tuple[list[x509.Certificate], str]:
        """Return the certificates from the server's to the authority's, verified, and the version of TLS."""
        options = self.options
        context = tls_context(True, None if options.ca is None else self.partition / options.ca)
        with socket.create_connection((options.host, options.port), options.timeout) as connection:
            with context.wrap_socket(connection, server_hostname=options.server_name or options.host) as secured:
                chain = [x509.load_der_x509_certificate(data) for data in _chain(secured)]
                return parsed(chain), str(secured.version())


def _chain(secured: ssl.SSLSocket) -> list[bytes]:
    """Return the verified certificates; before Python 3.13 only the object inside tells them."""
    if sys.version_info >= (3, 13):
        return secured.get_verified_chain()
    return [item.public_bytes(_DER) for item in secured._sslobj.get_verified_chain()]  # type: ignore[attr-defined]
