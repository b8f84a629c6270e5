# SPDX-License-Identifier: Apache-2.0
"""Promise: a server shows a certificate that is trusted, is its own, and is valid for some time yet."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from allotment_promises.certificates import seconds_left, validity_problem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.limits import check_above_zero, check_port
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.web import tls_context


@dataclass(frozen=True)
class Options:
    host: str  # name or IP address to connect to
    port: int = 443  # TCP port on which TLS begins at once
    server_name: str = ""  # name or IP address that the certificate must be of; default: host
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition
    certificate_expiration_days: float = 15.0  # the certificate must be valid for so many days yet
    timeout: float = 5.0  # seconds

    def __post_init__(self) -> None:
        check_port(self.port)
        check_above_zero(timeout=self.timeout)


class CheckTls(GenericPromise[Options]):
    """Passes when ``host:port`` speaks TLS with a certificate of ``server-name`` that a trusted authority signed.

    The whole chain must be valid now, and the server's own certificate for ``certificate-expiration-days`` more.

    Metrics: ``seconds`` until TLS was spoken, ``expires_in``, seconds until the certificate expires.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        return f"{self.options.host}:{self.options.port}"

    def sense(self) -> Measurement:
        place, started = self.target(), time.monotonic()
        try:
            certificate, version = self._greet()
        except ssl.SSLCertVerificationError as error:
            return Measurement.failed(f"{place}: {error.verify_message.rstrip('.')}")
        except (OSError, ValueError) as error:  # ValueError: an impossible name; a certificate that can't be parsed
            return Measurement.failed(f"{place}: {error}")
        metrics = {
            "seconds": Metric(time.monotonic() - started, "s"),
            "expires_in": Metric(seconds_left(certificate), "s"),
        }
        problem = validity_problem(certificate, self.options.certificate_expiration_days)
        if problem:
            return Measurement.failed(f"{place}: {problem}", **metrics)
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return Measurement.passed(f"{place} speaks {version}; its certificate is valid until {until}", **metrics)

    def _greet(self) -> tuple[x509.Certificate, str]:
        """Return the server's certificate, which is verified, and the version of TLS."""
        options = self.options
        context = tls_context(True, None if options.ca is None else self.partition / options.ca)
        with socket.create_connection((options.host, options.port), options.timeout) as connection:
            with context.wrap_socket(connection, server_hostname=options.server_name or options.host) as secured:
                return x509.load_der_x509_certificate(secured.getpeercert(True) or b""), str(secured.version())
