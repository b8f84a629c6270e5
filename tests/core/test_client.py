# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import httpx2
import pytest

from allotment.blobs import BlobStore
from allotment.client import MasterClient
from allotment.errors import AllotmentError, UnreachableError


def test_an_answer_that_can_t_be_unpacked_is_no_answer() -> None:
    def garbled(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx2.ByteStream(b"no gzip"))

    with (
        MasterClient("http://127.0.0.1:1", transport=httpx2.MockTransport(garbled)) as client,
        pytest.raises(UnreachableError, match="did not answer"),
    ):
        client.nodes()


def test_a_blob_that_the_master_has_is_not_read(tmp_path: Path) -> None:
    asked = []

    def has_it(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path))
        return httpx2.Response(200)

    with MasterClient("http://127.0.0.1:1", transport=httpx2.MockTransport(has_it)) as client:
        assert client.put_blob(tmp_path / "gone", "a" * 64) == "a" * 64
    assert asked == [("HEAD", f"/api/v1/blobs/{'a' * 64}")]


def test_a_blob_without_end_is_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    endless = httpx2.MockTransport(lambda _: httpx2.Response(200, content=(b"x" * 100 for _ in range(10**6))))
    with (
        MasterClient("http://127.0.0.1:1", transport=endless) as client,
        pytest.raises(AllotmentError, match="a blob is larger than 1000 bytes"),
    ):
        client.get_blob("a" * 64, store, limit=1000)
    assert not list(tmp_path.rglob("*new*"))
