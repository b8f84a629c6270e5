# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (input and what comes out stand side by side, as a table)
"""Recipe ``urlparse``."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes.recipes import urlparse

Make = Callable[..., Any]
PIECES = ("scheme", "host", "port", "username", "password", "path", "query", "fragment")


def pieces(recipe: Any) -> tuple[str, ...]:
    return tuple(recipe.run.tokens.reveal(recipe.raw[name]) for name in PIECES)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example", ("http", "a.example", "", "", "", "", "", "")),
        ("https://u:p%40@[2001:db8::1]:8443/x/y?q=1#f", ("https", "2001:db8::1", "8443", "u", "p%40", "/x/y", "q=1", "f")),
        ("mysql://root@10.0.0.1:3306/db", ("mysql", "10.0.0.1", "3306", "root", "", "/db", "", "")),
    ],
)  # fmt: skip
def test_each_piece_is_told(make_recipe: Make, url: str, expected: tuple[str, ...]) -> None:
    recipe = make_recipe(urlparse.Recipe, {"url": url})
    assert pieces(recipe) == expected
    assert recipe.install() == []


def test_a_password_is_hidden(make_recipe: Make) -> None:
    raw = make_recipe(urlparse.Recipe, {"url": "http://user:pl4nted@h/"}).raw
    assert raw["username"] == "user"
    assert "pl4nted" not in raw["password"]


def test_of_a_url_that_holds_a_secret_the_place_is_told_only(partition: Any) -> None:
    partition.parameters = {"url": Secret("http://pl4nted-user:pl4nted@h:1/pl4nted?pl4nted#pl4nted")}
    profile = """\
        [buildout]
        parts = t
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [u]
        recipe = allotment.recipes:urlparse
        url = ${slap:configuration.url}
        [t]
        recipe = allotment.recipes:template
        inline = ${u:host} ${u:port} ${u:username} ${u:password} ${u:path}
        output = etc/t
        """
    assert partition.run(profile).error == ""
    assert partition.text("etc/t") == "h 1 pl4nted-user pl4nted /pl4nted"
    assert "pl4nted" not in partition.text(".installed.cfg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] url: missing option. Add 'url = ...'."),
        ({"url": "a.example/x"}, "[part] url: 'a.example/x' has no scheme or no host. Write it like http://[::1]:8080/."),
        ({"url": "http:///x"}, "[part] url: 'http:///x' has no scheme or no host."),
        ({"url": "http://h:x/"}, "[part] url: 'http://h:x/' can't be read: Port could not be cast"),
        ({"url": "http://[::1/"}, "[part] url: 'http://[::1/' can't be read: Invalid IPv6 URL."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(urlparse.Recipe, options)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 65535), st.text(alphabet=st.characters(codec="utf-8")))
def test_what_was_put_together_is_taken_apart(
    make_recipe: Make, user: str, password: str, port: int, path: str
) -> None:
    user, password, path = (quote(text.encode("utf-8", "replace"), safe="") for text in (user, password, path))
    recipe = make_recipe(urlparse.Recipe, {"url": f"http://{user}:{password}@host:{port}/{path}"})
    assert pieces(recipe) == ("http", "host", str(port), user, password, f"/{path}", "", "")


def test_a_password_is_in_no_error(make_recipe: Any) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(urlparse.Recipe, {"url": "http://user:pl4nted@host:port/"})
    assert str(caught.value) == "[part] url: the URL can't be read. Write it like http://[::1]:8080/."
