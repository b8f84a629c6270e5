# SPDX-License-Identifier: Apache-2.0
import json

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.testnode.redact import Redactor

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
