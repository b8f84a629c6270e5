# SPDX-License-Identifier: Apache-2.0
"""Take secrets out of a byte stream, also where a secret is cut in two by the chunks it comes in."""

import base64
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

from allotment.secret import REDACTED, scrub

_SHORTEST = 4  # characters; shorter ones are not looked for, as in allotment.secret.scrub
_SHORTEST_IN_BASE64 = 8  # bytes; what is left of shorter ones would be found where they are not


def forms(value: str) -> set[str]:
    """Return the ways in which programs commonly print a value: plain, in JSON, in Python, in a URL, in base64."""
    return {value, json.dumps(value)[1:-1], repr(value)[1:-1], urllib.parse.quote(value, safe=""), *_in_base64(value)}


def _in_base64(value: str) -> set[str]:
    """Return what base64 makes of a value wherever it begins in what is encoded, as in ``user:password``.

    That is the middle: the characters at both ends also depend on what stands beside the value.
    """
    data = value.encode()
    if len(data) < _SHORTEST_IN_BASE64:
        return set()
    found = set()
    for before in range(3):
        end = (before + len(data)) * 8 // 6  # characters that depend on nothing behind
        text = base64.b64encode(bytes(before) + data).decode()[-(-before * 8 // 6) : end]
        found |= {text, text.replace("+", "-").replace("/", "_")}
    return found


class Redactor:
    """Knows secrets, learns more while it works, and replaces them; not thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._texts: set[str] = set()
        self._values: list[bytes] = []  # longest first
        self._held = b""
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Look for these too, from the next byte on."""
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                self._texts |= forms(secret)
        self._values = sorted((text.encode() for text in self._texts), key=len, reverse=True)

    def feed(self, chunk: bytes) -> bytes:
        """Return what is safe to send of all that came so far; what may be the start of a secret is held back."""
        data = self._replace(self._held + chunk)
        held = max((_overlap(data, value) for value in self._values), default=0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def flush(self) -> bytes:
        """Return what was held back: the stream has ended."""
        rest, self._held = self._replace(self._held), b""
        return rest

    def text(self, text: str) -> str:
        """Return a text with every known secret replaced."""
        return scrub(text, self._texts)

    def data(self, value: Any) -> Any:
        """Return JSON data with every known secret replaced in its strings."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.data(item) for item in value]
        return value

    def _replace(self, data: bytes) -> bytes:
        for value in self._values:
            data = data.replace(value, REDACTED.encode())
        return data


def _overlap(data: bytes, value: bytes) -> int:
    """Return the length of the longest end of ``data`` that is a beginning of ``value``, but not all of it."""
    end = data[-(len(value) - 1) :]
    place = end.find(value[:1])
    while place >= 0:
        if value.startswith(end[place:]):
            return len(end) - place
        place = end.find(value[:1], place + 1)
    return 0
