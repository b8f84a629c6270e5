# SPDX-License-Identifier: Apache-2.0

import base64
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_promises import GenericPromise, Measurement
from allotment_promises.sensing import web

Measure = Callable[..., Measurement]
Serve = Callable[..., str]
PAIR = base64.b64encode(b"me:planted").decode()


def moved(target: str) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": target}, b""


def private(request: Any) -> tuple[int, dict[str, str], bytes]:
    return (200, {}, b"") if request.headers["Authorization"] == f"Basic {PAIR}" else (401, {}, b"")


@pytest.fixture
def url(serve: Serve) -> str:
    pages = {"/": (200, {}, b"<p>Welcome</p>"), "/broken": (500, {}, b""), "/private": private}
    targets = {"/moved": "/", "/loop": "/loop", "/away": "/broken", "/file": "file:///etc/passwd", "/in": "/private"}
    return serve({**pages, **{path: moved(target) for path, target in targets.items()}})


def found(measured: Measurement) -> tuple[bool, str]:
    return measured.is_passed, measured.message


def test_an_answer_passes_with_its_time(measure: Measure, url: str) -> None:
    measured = measure("check_url_available", url=url)
    assert found(measured) == (True, f"{url} answers 200")
    assert 0 < measured.metrics["seconds"].value < 5
    assert measured.metrics["code"].value == 200


def test_unexpected_code_fails(measure: Measure, url: str) -> None:
    def of(path: str, **options: Any) -> tuple[bool, str]:
        return found(measure("check_url_available", url=url + path, **options))

    assert of("/broken") == (False, f"{url}/broken answers 500, expected 200")
    assert of("/nothing", http_code=404) == (True, f"{url}/nothing answers 404")
    assert of("/broken", http_code=0) == (True, f"{url}/broken answers 500")
    assert of("/broken", ignore_code="1") == (True, f"{url}/broken answers 500")


def test_the_page_must_hold_what_is_expected(measure: Measure, url: str) -> None:
    assert measure("check_url_available", url=url, content="W[a-z]+e</p>$").is_passed
    assert found(measure("check_url_available", url=url, content="Goodbye")) == (
        False,
        f"{url} answers 200 with a page that does not hold 'Goodbye'",
    )


def test_redirections_are_followed_unless_told_otherwise(measure: Measure, url: str) -> None:
    def of(path: str, **options: Any) -> tuple[bool, str]:
        return found(measure("check_url_available", url=url + path, **options))

    assert of("/moved") == (True, f"{url}/moved answers 200")
    assert of("/away") == (False, f"{url}/away answers 500, expected 200")
    assert of("/moved", http_code=302, allow_redirects=False)[0]
    assert not of("/moved", allow_redirects=False)[0]
    assert not of("/loop")[0]
    assert not of("/file")[0]


def test_a_password_goes_to_its_server_only(measure: Measure, serve: Serve, url: str) -> None:
    seen: list[str | None] = []

    def other(request: Any) -> tuple[int, dict[str, str], bytes]:
        seen.append(request.headers["Authorization"])
        return 200, {}, b""

    elsewhere = serve({"/": other})
    first = serve({"/": moved(elsewhere)})
    login = {"username": "me", "password": Secret("planted")}
    assert measure("check_url_available", url=f"{url}/private", **login).is_passed
    assert measure("check_url_available", url=f"{url}/in", **login).is_passed
    assert not measure("check_url_available", url=f"{url}/private").is_passed
    assert measure("check_url_available", url=first, **login).is_passed
    assert seen == [None]


def test_a_server_that_is_away_silent_or_speaks_otherwise_fails(measure: Measure, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    assert found(measure("check_url_available", url=url)) == (False, f"{url}: [Errno 111] Connection refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert found(measure("check_url_available", url=url, timeout=0.2)) == (False, f"{url}: timed out")


def test_the_certificate_is_verified(
    measure: Measure, serve: Serve, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    url = serve({"/": (200, {}, b"")}, server_context)
    assert "certificate verify failed" in measure("check_url_available", url=url).message
    assert measure("check_url_available", url=url, ca=ca_file.name).is_passed
    assert measure("check_url_available", url=url, verify=False).is_passed
    assert not measure("check_url_available", url=url, ca="missing.pem").is_passed


def test_a_server_may_want_a_certificate(
    measure: Measure, serve: Serve, server_context: ssl.SSLContext, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    url = serve({"/": (200, {}, b"")}, server_context)
    client = authority.issue_cert("client@example.com")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trust = {"url": url, "ca": ca_file.name}
    assert not measure("check_url_available", **trust).is_passed
    assert measure("check_url_available", **trust, cert_file="both.pem").is_passed
    assert measure("check_url_available", **trust, cert_file="cert.pem", key_file="key.pem").is_passed
    assert not measure("check_url_available", **trust, cert_file="cert.pem").is_passed


def test_a_client_certificate_is_never_loaded_into_what_promises_share(authority: trustme.CA, tmp_path: Path) -> None:
    authority.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    shared = web.tls_context(True, None)
    assert web.tls_context(True, None) is shared, "it is read once for all"
    own = web._context(web.WebOptions(url="https://host/", cert_file=Path("both.pem")), tmp_path)
    assert own is not shared


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://host/"}, "url: 'ftp://host/' is no such address. Write it like https://host/path."),
        ({"url": "http:///path"}, "url: 'http:///path' is no such address. Write it like https://host/path."),
        ({"url": "http://host:x/"}, "url: 'http://host:x/' is no such address. Write it like https://host/path."),
        (
            {"url": "http://h/\r\nX: y"},
            "url: 'http://h/\\r\\nX: y' is no such address. Write it like https://host/path.",
        ),
        ({"url": "http://me:word@host/"}, "url: holds a user or password, which would be shown. Leave it out."),
        ({"url": "http://me:word@host:x/"}, "url: holds a user or password, which would be shown. Leave it out."),
        ({"url": "http://me:word@[host/"}, "url: holds a user or password, which would be shown. Leave it out."),
        (
            {"url": "https://h/", "ca": "x", "verify": "false"},
            "ca, verify: ca is of no use with verify = false. Remove one of the two.",
        ),
        ({"url": "https://h/", "key-file": "x"}, "key-file: there is no cert-file that it belongs to. Give both."),
        (
            {"url": "https://h/", "username": "me"},
            "username, password: password is missing. Give all of them, or none.",
        ),
        (
            {"url": "https://h/", "username": "a:b", "password": "p"},
            "username: 'a:b' holds a colon, which ends it. Give another user.",
        ),
        ({"url": "https://h/", "http-code": 20}, "http-code: 20 is no status code. Write one like 200, or 0 for any."),
        ({"url": "https://h/", "timeout": 0}, "timeout: 0 is not above zero. Write it like 5."),
        (
            {"url": "https://h/", "content": "("},
            "content: '(' is no regular expression: missing ), unterminated subpattern at position 0."
            " See Python's module re.",
        ),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_url_available", **options)
    assert str(caught.value) == message
