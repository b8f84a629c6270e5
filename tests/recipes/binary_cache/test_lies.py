# SPDX-License-Identifier: Apache-2.0
"""A cache that lies: what it says is refused with the reason, the part is built, and the store is whole."""

import dataclasses
import hashlib
import io
import json
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from tests.recipes.binary_cache.conftest import Liar, Yard

from allotment.codec import decode, dumps, encode
from allotment.messages.binary_cache import PackedPart, SignedPackedPart
from allotment.messages.manifest import Blob
from allotment_recipes.binary_cache import client, entry
from allotment_recipes.binary_cache.entry import Wanted
from allotment_recipes.context import RunContext
from allotment_recipes.journal import Journal
from allotment_recipes.shared_store import remove
from allotment_recipes.signing import SigningKey, load_or_create_key
from allotment_recipes.tokens import Tokens


def signed(key: SigningKey, data: Any, **changes: Any) -> Any:
    """Return an entry with other fields, signed anew."""
    packed = dataclasses.replace(decode(SignedPackedPart, data).packed, **changes)
    return encode(entry.sign(packed, key))


def check_refused(yard: Yard, liar: Liar, reason: str, *parts: str) -> None:
    """Build with a lying cache: the parts, by default both, are refused for a reason and built."""
    yard.build("other", [liar.url])
    for part in parts or yard.parts.values():
        assert f"{part} from {liar.url} is refused: {reason}" in yard.log, yard.log
        assert f"building {part}" in yard.log
    assert ("fetched" in yard.log) == bool(parts and len(parts) < len(yard.parts))
    check_store(yard)


def check_left_alone(yard: Yard, liar: Liar, reason: str) -> None:
    """Build with a cache that fails: it is not asked again."""
    yard.build("other", [liar.url])
    assert f"the binary cache {liar.url} is left alone for this build: {reason}" in yard.log, yard.log
    assert yard.log.count("is left alone") == 1 and "fetched" not in yard.log
    assert len(liar.paths) == 1
    check_store(yard)


def check_store(yard: Yard) -> None:
    assert yard.greets("other")
    root = yard.root("other")
    assert not [*root.glob(".*.new"), *(path for path in root.iterdir() if path.is_symlink())]
    assert not list(yard.place.glob("release*/sources/.packed/*"))


def test_the_truth_is_taken(built: Yard, liar: Liar) -> None:
    built.build("other", [liar.url])
    assert built.log.count("fetched") == 2


# Of a part


def test_another_signer(built: Yard, liar: Liar, tmp_path: Path) -> None:
    stranger = load_or_create_key(tmp_path / "stranger")
    liar.entry = lambda part, data: signed(stranger, data)
    check_refused(built, liar, "")
    assert f"{built.parts['greeter']} is signed by {stranger.public} only, which this build does not trust" in built.log


def test_no_signature(built: Yard, liar: Liar) -> None:
    liar.entry = lambda part, data: {**data, "signatures": []}
    check_refused(built, liar, "")
    assert "is signed by nobody only, which this build does not trust" in built.log


def test_a_trusted_name_under_the_signature_of_a_stranger(built: Yard, liar: Liar, tmp_path: Path) -> None:
    stranger = load_or_create_key(tmp_path / "stranger")

    def lie(part: str, data: Any) -> Any:
        value = signed(stranger, data)["signatures"][0]["value"]
        return {**data, "signatures": [{"key": built.key.public, "value": value}]}

    liar.entry = lie
    check_refused(built, liar, "")
    assert f"has a wrong signature of {built.key.public}" in built.log


CHANGES: tuple[dict[str, Any], ...] = (
    {"size": 1},
    {"count": 1},
    {"root": "/elsewhere"},
    {"references": []},
    {"seconds": 0.5},
    {"platform": "vax"},
    {"version": "2"},
    {"fixed": [{"file": "x", "reason": "y"}]},
    {"archive": {"sha256": "0" * 64, "size": 1}},
)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_metadata_that_were_changed(built: Yard, liar: Liar, changes: Any) -> None:
    part = built.parts["greeter"]
    liar.entry = lambda name, data: {**data, "packed": {**data["packed"], **(changes if name == part else {})}}
    check_refused(built, liar, f"{part} has a wrong signature of {built.key.public}", part)


def test_the_right_signature_of_another_part(built: Yard, liar: Liar) -> None:
    greeting = built.parts["greeting"]
    other = dict(liar.cache.entries([greeting]))
    liar.entry = lambda part, data: json.loads(other[greeting])
    check_refused(built, liar, f"it is {greeting}", built.parts["greeter"])


def test_the_right_folder_of_other_inputs(built: Yard, liar: Liar) -> None:
    liar.entry = lambda part, data: signed(built.key, data, digest=data["packed"]["digest"][:32] + "0" * 32)
    check_refused(built, liar, "it was built from other inputs: its hash is")


def test_another_platform(built: Yard, liar: Liar) -> None:
    liar.entry = lambda part, data: signed(built.key, data, platform="linux-sparc-glibc2.36-py3.11")
    check_refused(built, liar, "it was built for linux-sparc-glibc2.36-py3.11, and this is linux-")


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ([], "is a list, not an object"),
        ({"format": 2}, "has format 2; allotment"),
        ({"packed": None}, ""),
        ({"more": 1}, "has an unknown field 'more'"),
    ],
    ids=["a list", "format", "null", "more"],
)
def test_what_is_no_entry(built: Yard, liar: Liar, lie: Any, reason: str) -> None:
    liar.entry = lambda part, data: {**data, **lie} if isinstance(lie, dict) else lie
    check_refused(built, liar, "")
    assert reason in built.log


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_entry_that_json_does_not_know(built: Yard, liar: Liar, number: float) -> None:
    liar.entry = lambda part, data: {**data, "packed": {**data["packed"], "seconds": number}}
    check_refused(built, liar, "")


def test_an_entry_that_is_too_large(built: Yard, liar: Liar) -> None:
    part = built.parts["greeter"]
    key = {"key": "k" * 70000, "value": ""}
    liar.entry = lambda name, data: {**data, "signatures": [key]} if name == part else data
    check_refused(built, liar, "it has more than 65536 bytes of metadata", part)


@pytest.mark.parametrize("field", ["size", "count"])
def test_more_than_anybody_would_take(built: Yard, liar: Liar, field: str) -> None:
    liar.entry = lambda part, data: signed(built.key, data, **{field: 1 << 40})
    check_refused(built, liar, f"it says {1 << 40} ")


def test_what_was_refused_is_asked_for_again_by_the_next_build(built: Yard, liar: Liar, tmp_path: Path) -> None:
    stranger = load_or_create_key(tmp_path / "stranger")
    lies = {built.parts["greeter"]: lambda data: signed(stranger, data), built.parts["greeting"]: lambda data: []}
    liar.entry = lambda part, data: lies[part](data)
    request = built.request("other", [liar.url])
    built.run(request)
    assert built.log.count("is refused: ") == 2 and len(liar.paths) == 1
    remove(built.root("other"))
    liar.entry = lambda part, data: data
    built.run(request)
    assert built.log.count("fetched") == 2


def test_a_key_that_is_no_longer_trusted_is_so_for_a_process_that_goes_on(built: Yard, liar: Liar) -> None:
    trusting = ({"url": liar.url, "keys": [built.key.public]},)
    run = RunContext(built.place / "process", Journal(immediate=True), built.place, Tokens(b""), caches=trusting)
    part = built.parts["greeter"]
    digest = json.loads(liar.cache.entries([part])[part])["packed"]["digest"]
    wanted = [Wanted(built.root("other") / part, digest)]
    assert client.look_up(run, wanted) == {part}
    assert client.look_up(dataclasses.replace(run, caches=({"url": liar.url, "keys": []},)), wanted) == set()


# Of the bytes


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "its bytes have the sha256 "),
        (lambda data: data[: len(data) // 2], "it has "),
        (lambda data: b"", "it has 0 bytes, and "),
        (lambda data: data + b"x", "it sends more than the "),
        (lambda data: b"x" * len(data), "its bytes have the sha256 "),
    ],
    ids=["one bit", "half", "nothing", "more", "others"],
)
def test_other_bytes(built: Yard, liar: Liar, lie: Callable[[bytes], bytes], reason: str) -> None:
    liar.archive = lie
    check_refused(built, liar, reason)


def test_the_archive_of_another_part(built: Yard, liar: Liar) -> None:
    sha256 = decode(
        SignedPackedPart, json.loads(liar.cache.entries([built.parts["greeting"]])[built.parts["greeting"]])
    )
    other = b"".join(liar.cache.read(sha256.packed.archive.sha256))
    liar.archive = lambda data: other
    check_refused(built, liar, "it ", built.parts["greeter"])


def test_a_connection_that_is_cut_in_the_middle_is_made_anew(built: Yard, liar: Liar) -> None:
    def cut(handler: Any) -> bool:
        if not handler.path.startswith("/api/v1/archives/") or handler.headers["Range"]:
            return False
        data = b"".join(liar.cache.read(handler.path.rpartition("/")[2]))
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:500])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return True

    liar.answer = cut
    built.build("other", [liar.url])
    assert built.log.count("fetched") == 2 and liar.ranges == ["bytes=500-"] * 2
    check_store(built)


# Of time and place


def test_a_cache_that_never_answers(built: Yard, liar: Liar) -> None:
    def wait(handler: Any) -> bool:
        time.sleep(100)
        return True

    liar.answer = wait
    began = time.monotonic()
    check_left_alone(built, liar, "it did not answer in time")
    assert time.monotonic() - began < 80


def test_a_cache_whose_header_never_ends(built: Yard, liar: Liar) -> None:
    def drip(handler: Any) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(200):
            try:
                handler.wfile.write(f"X-Header-{number}: x\r\n".encode())
                handler.wfile.flush()
            except OSError:
                return True
            time.sleep(0.5)
        return True

    liar.answer = drip
    began = time.monotonic()
    check_left_alone(built, liar, "it ")
    assert time.monotonic() - began < 80


def test_an_archive_that_drips(built: Yard, liar: Liar) -> None:
    def drip(handler: Any) -> bool:
        if not handler.path.startswith("/api/v1/archives/"):
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "100000000")
        handler.end_headers()
        for _ in range(1000):
            try:
                handler.wfile.write(b"x" * 10)
                handler.wfile.flush()
            except OSError:
                return True
            time.sleep(0.1)
        return True

    liar.answer = drip
    began = time.monotonic()
    built.build("other", [liar.url])
    assert "is refused: it " in built.log and "is left alone for this build" in built.log, built.log
    assert time.monotonic() - began < 90
    check_store(built)


@pytest.mark.parametrize("status", [500, 503, 429, 404, 204, 200])
def test_an_answer_that_is_none(built: Yard, liar: Liar, status: int) -> None:
    def answer(handler: Any) -> bool:
        handler.reply(status, b"")
        return True

    liar.answer = answer
    check_left_alone(built, liar, f"it answered {status}" if status != 200 else "it is no binary cache")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_elsewhere(built: Yard, liar: Liar, status: int) -> None:
    def answer(handler: Any) -> bool:
        handler.reply(status, b"", {"Location": "http://127.0.0.1:9/x"})
        return True

    liar.answer = answer
    check_left_alone(built, liar, "it sends to 'http://127.0.0.1:9/x', and a cache answers itself")


def test_a_redirect_of_an_archive(built: Yard, liar: Liar) -> None:
    def answer(handler: Any) -> bool:
        if handler.path.startswith("/api/v1/archives/"):
            handler.reply(302, b"", {"Location": "http://127.0.0.1:9/x"})
            return True
        return False

    liar.answer = answer
    check_refused(built, liar, "it sends to 'http://127.0.0.1:9/x'")


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"entries": []}', b"null", b"[" * 100000, b"<html>", b"\xff"])
def test_an_answer_of_something_else(built: Yard, liar: Liar, body: bytes) -> None:
    def answer(handler: Any) -> bool:
        handler.reply(200, body)
        return True

    liar.answer = answer
    check_left_alone(built, liar, "it ")


# Of an archive that a trusted key has signed: the signer was careless, or the key was stolen


def hostile(build: Callable[[tarfile.TarFile], None]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        build(archive)
    return zstd.compress(stream.getvalue())


def test_a_signed_archive_that_leads_out_of_the_part(built: Yard, liar: Liar) -> None:
    def members(archive: tarfile.TarFile) -> None:
        table = b'{"format":1,"offsets":[],"hashed":[]}'
        info = tarfile.TarInfo(".allotment-offsets")
        info.size, info.mode = len(table), 0o444
        archive.addfile(info, io.BytesIO(table))
        info = tarfile.TarInfo("../escaped")
        info.mode = 0o444
        archive.addfile(info)

    data = hostile(members)
    blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
    liar.archive = lambda right: data
    liar.entry = lambda part, entry_data: signed(built.key, entry_data, archive=blob)
    liar.cache = _Any(liar.cache)
    check_refused(built, liar, "the archive is refused: '../escaped' is not a name inside it")  # nor is it kept
    assert not list(built.place.rglob("escaped"))


class _Any:
    """A cache that has whatever archive is asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.entries = inner.entries

    def read(self, sha256: str) -> list[bytes]:
        return []


def test_an_entry_is_canonical(built: Yard, liar: Liar) -> None:
    """What is signed is the document, not how a cache writes it."""
    part = built.parts["greeter"]
    data = liar.cache.entries([part])[part]
    assert dumps(decode(SignedPackedPart, json.loads(data))) == data
    assert dumps(decode(PackedPart, json.loads(data)["packed"]))
