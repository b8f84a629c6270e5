# SPDX-License-Identifier: Apache-2.0
"""The web page of the helloworld release: a greeting, and a private page for who knows the token."""

import hmac
import json
import sys
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>Hello</title><h1>{}</h1>\n"
Start = Callable[[str, list[tuple[str, str]]], object]


class Application:
    """A WSGI application; ``token`` empty means that there is no private page."""

    def __init__(self, greeting: str, token: str) -> None:
        self._greeting = greeting
        self._token = token

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        status, text = self._answer(environ.get("PATH_INFO", "/"), environ.get("HTTP_AUTHORIZATION", ""))
        body = PAGE.format(escape(text)).encode()
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", "Bearer"))
        start_response(status, headers)
        return [body]

    def _answer(self, path: str, authorization: str) -> tuple[str, str]:
        if path == "/":
            return "200 OK", self._greeting
        if path != "/private" or not self._token:
            return "404 Not Found", "No such page"
        if hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode()):
            return "200 OK", "You know the token"
        return "401 Unauthorized", "Say the token"


def main() -> int:
    """Serve what the settings file, the only argument, says."""
    import waitress

    settings = json.loads(Path(sys.argv[1]).read_text())
    application = Application(settings["greeting"], settings["token"])
    waitress.serve(application, host=settings["address"], port=settings["port"], threads=4)
    return 0
