# SPDX-License-Identifier: Apache-2.0
"""What a job prints is kept whole up to a limit, and with its end beyond it."""

import io

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.engine.logs import LIMIT
from allotment_testfarm.testnode.bounded_log import LAST, MOST, BoundedLog


def kept(pieces: list[bytes], most: int, last: int) -> bytes:
    file = io.BytesIO()
    log = BoundedLog(file, most, last)
    for piece in pieces:
        log.write(piece)
    log.end()
    return file.getvalue()


def test_beyond_the_limit_the_end_is_kept_and_the_rest_is_said() -> None:
    lines = [b"line %03d\n" % number for number in range(100)]
    assert kept(lines, 27, 25) == (
        b"line 000\nline 001\nline 002\n"
        b"\n[the log has 0 MiB: what follows is left out, but the end]\n"
        b"[855 bytes are left out]\nline 098\nline 099\n"
    )


def test_what_is_a_little_too_long_is_all_there() -> None:
    assert kept([b"12345", b"678"], 5, 10).endswith(b"[0 bytes are left out]\n678")


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 100), st.integers(1, 40))
def test_the_beginning_and_the_end_are_those_of_the_output(pieces: list[bytes], most: int, last: int) -> None:
    output = b"".join(pieces)
    found = kept(pieces, most, last)
    if len(output) <= most:
        assert found == output
        return
    assert found.startswith(output[:most] + b"\n[the log has")
    end = found.rpartition(b" bytes are left out]\n")[2] if b"left out]" not in output else b""
    assert output.endswith(end) and len(end) <= last


def test_what_a_test_node_sends_is_not_more_than_the_engine_takes() -> None:
    assert MOST + LAST + 1000 < LIMIT
