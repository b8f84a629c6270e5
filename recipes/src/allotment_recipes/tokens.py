# SPDX-License-Identifier: Apache-2.0
"""Secrets inside buildout's options: a token stands for the value until a recipe writes it where it is used.

Options are copied into ``.installed.cfg``, logs and error texts, so they never hold a secret. The token depends on
the value and on a key of the partition: it changes when the secret changes, and nobody can guess or forge it.
"""

import hashlib
import hmac
import json
import re
import secrets
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited, write_bytes
from allotment.secret import Secret, scrub

_LONG_ENOUGH: Final = 8  # characters of a value that is looked for in texts
_KEY_SIZE: Final = 32  # bytes
_TOKEN: Final = re.compile(r"allotment-secret-[0-9a-f]{40}")


class Tokens:
    """The secrets of one run, by token."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._values: dict[str, str] = {}

    def token(self, secret: Secret) -> str:
        """Return the text that stands for ``secret`` in options."""
        value = secret.reveal()
        digest = hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:40]
        token = f"allotment-secret-{digest}"
        self._values[token] = value
        return token

    def derived(self, text: str) -> bytes:
        """Return 32 bytes that are the same at each run for the same text, and that nobody can guess."""
        return hmac.new(self._key, f"derived {text}".encode(), hashlib.sha256).digest()

    def hide(self, value: Any) -> Any:
        """Return JSON data with each secret replaced by its token."""
        if isinstance(value, Secret):
            return self.token(value)
        if isinstance(value, dict):
            return {key: self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def restore(self, value: Any) -> Any:
        """Return JSON data with each string that holds a token replaced by a :class:`Secret`."""
        if isinstance(value, str):
            return Secret(self.reveal(value)) if self.found_in(value) else value
        if isinstance(value, dict):
            return {key: self.restore(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.restore(item) for item in value]
        return value

    def found_in(self, text: str) -> bool:
        """Say whether ``text`` holds a token of this run."""
        return any(token in self._values for token in _TOKEN.findall(text))

    def conceal(self, text: str) -> str:
        """Return ``text`` with tokens in place of plain values, for what was revealed too early.

        Values under 8 characters stay: they may be there for another reason, such as a number that will be read.
        """
        tokens = {value: token for token, value in self._values.items() if len(value) >= _LONG_ENOUGH}
        if not tokens:
            return text
        longest_first = sorted(tokens, key=len, reverse=True)
        found = re.compile("|".join(map(re.escape, longest_first)))  # in one pass: a value may occur in a token
        return found.sub(lambda match: tokens[match[0]], text)

    def reveal(self, text: str) -> str:
        """Return ``text`` with the plain values in place: for a file that is used, never to show it."""
        return _TOKEN.sub(lambda match: self._values.get(match[0], match[0]), text)

    def reveal_json(self, value: Any) -> Any:
        """Return JSON data with the plain values in place."""
        return json.loads(self.reveal_in_json(json.dumps(value)))

    def reveal_in_json(self, text: str) -> str:
        """Return JSON text with the plain values in place, escaped as JSON wants."""
        return _TOKEN.sub(lambda match: json.dumps(self._values.get(match[0], match[0]))[1:-1], text)

    def scrub(self, text: str) -> str:
        """Return ``text`` (an error, a log) with the plain values blanked out."""
        return scrub(text, self._values.values())


def load_key(path: Path) -> bytes:
    """Return the key in ``path`` (mode 0600), making it at the first call and when it is not whole."""
    found = read_limited(path, 2 * _KEY_SIZE)
    if found is not None and len(found) == _KEY_SIZE:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(_KEY_SIZE)
    write_bytes(path, key, 0o600)
    return key
