# SPDX-License-Identifier: Apache-2.0
"""The release's own tests: they run in its farm job, and by ``allot release test software/helloworld``."""

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any


def get(url: str, token: str = "") -> tuple[int, str]:
    """Return status and text of a page."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_page_greets_as_asked(request_instance: Callable[..., Any]) -> None:
    info = request_instance("greeting", parameters={"greeting": "Bonjour <tout le monde>"})
    status, page = get(info.published["url"])
    assert status == 200
    assert "Bonjour &lt;tout le monde&gt;" in page


def test_the_page_greets_without_being_asked(request_instance: Callable[..., Any]) -> None:
    assert "Hello, world" in get(request_instance("plain").published["url"])[1]


def test_the_private_page_is_for_who_knows_the_token(request_instance: Callable[..., Any]) -> None:
    url = request_instance("private", parameters={"token": "correct horse battery"}).published["url"]
    assert get(f"{url}private")[0] == 401
    assert get(f"{url}private", "wrong")[0] == 401
    assert get(f"{url}private", "correct horse battery")[0] == 200


def test_a_pair_names_its_child(request_instance: Callable[..., Any]) -> None:
    info = request_instance("couple", software_type="pair", parameters={"greeting": "I am the second"})
    child = info.published["child-url"]
    assert child in get(info.published["url"])[1]
    assert "I am the second" in get(child)[1]
