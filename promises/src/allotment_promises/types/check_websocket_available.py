# SPDX-License-Identifier: Apache-2.0
"""Promise: a websocket opens, and answers as expected."""

import base64
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from allotment.options import OptionProblem, check_given_together
from allotment.secret import Secret
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero
from allotment_promises.sensing.web import BODY_LIMIT, check_url, place, tls_context


@dataclass(frozen=True)
class Options:
    url: str  # ws or wss
    content_to_send: str = ""  # message to send; empty: only open and close
    content_to_receive: str = ""  # the first message that must come back; empty: none is waited for
    binary: bool = False  # the messages are binary, as UTF-8
    timeout: float = 5.0  # seconds to open, and for the answer
    verify: bool = True  # check the server's certificate
    ca: Path | None = None  # file of certificates to trust instead of the system's, relative to the partition
    username: str = ""  # user, sent with the password
    password: Secret = Secret("")  # its password

    def __post_init__(self) -> None:
        check_url(self.url, ("ws", "wss"))
        check_above_zero(timeout=self.timeout)
        if self.ca is not None and not self.verify:
            raise OptionProblem("ca, verify", "ca is of no use with verify = false", "Remove one of the two")
        check_given_together(username=self.username, password=self.password.reveal())


class CheckWebsocketAvailable(GenericPromise[Options]):
    """Passes when the websocket ``url`` opens within ``timeout`` and, if told so, answers ``content-to-receive``.

    Metrics: ``seconds`` until it was open or, if one is expected, the answer was there.
    """

    layer = Layer.PROTOCOL

    def target(self) -> str:
        return place(self.options.url)

    def sense(self) -> Measurement:
        url, started = self.options.url, time.monotonic()
        try:
            problem = self._talk()
        except TimeoutError:
            return Measurement.failed(f"{url} does not answer within {self.options.timeout:g} s")
        except (OSError, WebSocketException, UnicodeError) as error:
            return Measurement.failed(f"{url}: {error}")
        seconds = Metric(time.monotonic() - started, "s")
        if problem:
            return Measurement.failed(f"{url} {problem}", seconds=seconds)
        answers = " and answers as expected" if self.options.content_to_receive else ""
        return Measurement.passed(f"{url} opens{answers}", seconds=seconds)

    def _talk(self) -> str:
        """Open, send and receive; return what is not as expected."""
        options = self.options
        headers = {}
        if options.username:
            pair = f"{options.username}:{options.password.reveal()}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        with connect(
            options.url,
            ssl=self._context(),
            additional_headers=headers,
            user_agent_header="allotment-promise",
            open_timeout=options.timeout,
            close_timeout=1.0,
            max_size=BODY_LIMIT,
            proxy=None,
        ) as connection:
            if options.content_to_send:
                connection.send(options.content_to_send.encode() if options.binary else options.content_to_send)
            if not options.content_to_receive:
                return ""
            received = connection.recv(options.timeout)
        expected = options.content_to_receive.encode() if options.binary else options.content_to_receive
        return "" if received == expected else f"answers {received[:200]!r}, expected {expected!r}"

    def _context(self) -> ssl.SSLContext | None:
        options = self.options
        if not options.url.startswith("wss:"):
            return None
        return tls_context(options.verify, None if options.ca is None else self.partition / options.ca)
