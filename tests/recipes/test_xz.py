# SPDX-License-Identifier: Apache-2.0
import io
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as some

from allotment_recipes.xz import XzStream


@given(some.lists(some.binary(max_size=300), min_size=1, max_size=4), some.lists(some.integers(1, 400), min_size=1))
def test_streams_one_after_the_other_are_read_in_pieces_of_any_size(streams: list[bytes], sizes: list[int]) -> None:
    packed = b"".join(lzma.compress(data) + bytes(4 * number) for number, data in enumerate(streams))
    stream, found = XzStream(io.BytesIO(packed)), b""
    for size in [*sizes, 10_000]:
        piece = stream.read(size)
        found += piece
        assert stream.tell() == len(found)
    assert found == b"".join(streams)
    assert stream.read(1) == b""


@given(some.integers(0, 100_000))
def test_what_is_in_between_can_be_passed_over(place: int) -> None:
    data = bytes(range(256)) * 400
    stream = XzStream(io.BytesIO(lzma.compress(data)))
    assert stream.seek(place) == min(place, len(data))
    assert stream.read(10) == data[place : place + 10]
    with pytest.raises(lzma.LZMAError, match="is before byte"):
        stream.seek(0) if place or stream.tell() else stream.seek(-1)


@pytest.mark.parametrize("packed", [b"", lzma.compress(b"x")[:-1], lzma.compress(b"x" * 10_000)[:40]])
def test_an_end_before_the_end_is_an_error(packed: bytes) -> None:
    with pytest.raises(EOFError):
        XzStream(io.BytesIO(packed)).read(20_000)


def test_other_bytes_behind_a_stream_are_an_error() -> None:
    with pytest.raises(lzma.LZMAError):
        XzStream(io.BytesIO(lzma.compress(b"x") + b"this is no stream at all")).read(10)
