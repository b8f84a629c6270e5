# SPDX-License-Identifier: Apache-2.0
import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.testnode.redact import Redactor, _overlap

SECRET = "correct-horse\nbattery"


@given(st.lists(st.sampled_from([SECRET, "correct-", "horse", "\n", "text"]), max_size=8), st.data())
def test_no_cut_of_the_stream_lets_a_secret_through(words: list[str], data: st.DataObject) -> None:
    text = "".join(words).encode()
    redactor, out, place = Redactor([SECRET]), b"", 0
    while place < len(text):
        step = data.draw(st.integers(1, len(text)))
        out += redactor.feed(text[place : place + step])
        place += step
    out += redactor.flush()
    assert out == text.replace(SECRET.encode(), b"<secret>")


def test_ordinary_output_is_not_held_back() -> None:
    assert Redactor(["hidden-value"]).feed(b"half a line") == b"half a line"


def test_secret_in_json_and_in_a_url_is_found() -> None:
    redactor = Redactor(['pass"word/1'])
    line = json.dumps({"a": 'pass"word/1'}) + " https://u:pass%22word%2F1@host"
    assert redactor.feed(line.encode()) == b'{"a": "<secret>"} https://u:<secret>@host'


def test_values_under_four_characters_are_left() -> None:
    assert Redactor(["abc"]).text("abcdef") == "abcdef"


def test_secrets_learned_later_count_from_then_on() -> None:
    redactor = Redactor()
    assert redactor.feed(b"later-known ") == b"later-known "
    redactor.learn(["later-known"])
    assert redactor.feed(b"later-known.") == b"<secret>."


def test_strings_inside_data_are_cleaned() -> None:
    assert Redactor(["hidden"]).data({"a": ["hidden value", 1, None]}) == {"a": ["<secret> value", 1, None]}


@given(st.binary(max_size=7), st.text(min_size=8, max_size=20), st.binary(max_size=7), st.booleans())
def test_nothing_of_a_secret_in_base64_is_left_but_its_edges(
    before: bytes, secret: str, after: bytes, is_for_urls: bool
) -> None:
    encode = base64.urlsafe_b64encode if is_for_urls else base64.b64encode
    clean = Redactor([secret]).text(encode(before + secret.encode() + after).decode())
    plain = encode(before + secret.encode() + after).decode()
    start, end = clean.split("<secret>", 1) if "<secret>" in clean else (plain, "")
    assert len(start) * 6 < len(before) * 8 + 12, "at most a few bits of its first byte are left"
    assert plain.startswith(start) and plain.endswith(end)


def test_the_header_of_basic_authentication_tells_no_password() -> None:
    for user in ("a", "ab", "abc"):
        line = b"Authorization: Basic " + base64.b64encode(f"{user}:open-sesame".encode())
        shown = Redactor(["open-sesame"]).feed(line)
        start, _, end = shown.removeprefix(b"Authorization: Basic ").partition(b"<secret>")
        assert len(start) <= 6 and len(end.rstrip(b"=")) <= 1, shown


@given(st.binary(max_size=40), st.binary(min_size=2, max_size=12))
def test_what_is_held_back_is_the_longest_beginning(data: bytes, value: bytes) -> None:
    ends = [length for length in range(1, len(value)) if data.endswith(value[:length])]
    assert _overlap(data, value) == max(ends, default=0)
