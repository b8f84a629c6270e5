# SPDX-License-Identifier: Apache-2.0
"""Source distributions from the Python index that the machine's pip is configured for; only the hash decides.

pip itself is not asked to download them: to learn what one is called, it runs the code in it.
"""

import html.parser
import http.client
import json
import re
import subprocess
import sys
import urllib.error
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError, UnreachableError
from allotment_recipes.providers import transfer
from allotment_recipes.providers import url as url_provider
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.sources import Source

TIMEOUT: Final = 60.0  # seconds, for pip to tell its indexes and for an index to answer
LIMIT: Final = 64 << 20  # bytes of an index's page
_ACCEPT: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
# The index that pip takes when it is configured for none, by pip's own word.
_DEFAULT: Final = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def fetch(source: Source, blobs: BlobStore) -> None:
    """Find the file with the pinned sha256 on the distribution's page and fetch it by its URL."""
    name = source.sdist.partition("==")[0]
    reasons: list[AllotmentError] = []
    for index in indexes():
        try:
            found = [address for address, sha256 in files(index, name) if sha256 == source.sha256]
        except AllotmentError as error:
            reasons.append(error)
            continue
        if found:
            url_provider.fetch(replace(source, urls=tuple(found), alternates=()), blobs)
            return
    if not reasons:
        raise AllotmentError(f"no index has a file of {name} with this sha256")
    kind = UnreachableError if any(isinstance(error, MachineError) for error in reasons) else AllotmentError
    raise kind("; ".join(error.what for error in reasons))


def indexes() -> list[str]:
    """Return the indexes of the machine's pip, the main one first."""
    main, extra = "", []
    for line in _pip("-m", "pip", "config", "list").splitlines():  # from the least to the most telling place
        key, _, value = line.partition("=")
        words = value.strip().strip("'\"").replace("\\n", " ").split()
        if key.endswith((".extra-index-url", ".extra_index_url")):
            extra += words
        elif key.endswith((".index-url", ".index_url")) and words:
            main = words[0]
    return [main or _pip("-c", _DEFAULT).strip(), *dict.fromkeys(extra)]


def files(index: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield address and sha256 of each file on a distribution's page."""
    page = f"{index.rstrip('/')}/{canonical(name)}/"
    if page.startswith("file:"):
        page += "index.html"
    shown = url_provider.shown(page)
    try:
        with transfer.opened(page, TIMEOUT, {"Accept": _ACCEPT}) as answer:
            base, kind = answer.url, answer.headers.get_content_type()
            data = b"".join(transfer.limited(transfer.in_time(answer), LIMIT))
    except urllib.error.HTTPError as error:
        problem = UnreachableError if error.code >= 500 or error.code == 429 else AllotmentError
        raise problem(f"{shown}: the server answered {error.code} {error.reason}") from error
    except AllotmentError as error:
        raise type(error)(f"{shown}: {error.what}", error.fix) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(f"{shown}: it can't be read: {getattr(error, 'reason', error)}") from error
    try:
        links = _of_json(json.loads(data)) if kind.endswith("+json") else _of_html(data.decode())
        for address, sha256 in links:
            yield urllib.parse.urljoin(base, address), sha256
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AllotmentError(f"{shown}: it is no page of an index: {error}") from error


def _of_json(page: Any) -> Iterator[tuple[str, str]]:
    for file in page["files"]:
        yield file["url"], file["hashes"].get("sha256", "")


def _of_html(page: str) -> Iterator[tuple[str, str]]:
    parser = _Links()
    parser.feed(page)
    for address in parser.found:
        match = re.search(r"#(?:.*&)?sha256=([0-9a-f]{64})", address)
        yield address.partition("#")[0], match[1] if match else ""


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if (tag, name) == ("a", "href") and value]


def _pip(*arguments: str) -> str:
    try:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError("pip does not tell which index it uses") from error
    return done.stdout
