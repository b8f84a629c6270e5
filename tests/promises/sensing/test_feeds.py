# SPDX-License-Identifier: Apache-2.0
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises.sensing.feeds import FeedProblem, Item, parse_feed

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
RSS = """<rss version="2.0"><channel><title>Feed</title><pubDate>Mon, 01 Jan 2020 00:00:00 GMT</pubDate>
<item><title>One</title><description>all &lt;b&gt;well</description>
<pubDate>Sun, 01 Mar 2026 13:00:00 +0100</pubDate></item>
<item><title>Two</title></item></channel></rss>"""
RDF = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Feed</title></channel>
<item><title>One</title><description>all &lt;b&gt;well</description><dc:date>2026-03-01T12:00Z</dc:date></item>
<item><title>Two</title></item></rdf:RDF>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Feed</title>
<entry><title type="html">One</title><published>2020-01-01T00:00:00Z</published><updated>2026-03-01T12:00:00Z</updated>
<summary>all &lt;b&gt;well</summary></entry><entry><title>Two</title></entry></feed>"""
BOMB = (
    '<!DOCTYPE rss [<!ENTITY a "'
    + "x" * 10_000
    + '">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 100}">' for before, name in zip("abcd", "bcde", strict=True))
    + "]><rss><item><title>&e;</title></item></rss>"
)


@pytest.mark.parametrize("feed", [RSS, RDF, ATOM])
def test_items_of_each_kind_of_feed_are_read(feed: str) -> None:
    assert parse_feed(feed.encode()) == [Item("One", "all <b>well", NOON), Item("Two", "", None)]


def test_what_is_no_feed_is_told() -> None:
    with pytest.raises(FeedProblem, match="is no feed, but <html>"):
        parse_feed(b"<html><body/></html>")
    for data in (b"", b"no XML", b"<rss>", b'<?xml version="1.0" encoding="no-such"?><rss/>', BOMB.encode()):
        with pytest.raises(FeedProblem, match="is no XML"):
            parse_feed(data)


def test_files_of_the_machine_are_not_read_in() -> None:
    data = b'<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><item><title>&a;</title></item></rss>'
    with pytest.raises(FeedProblem, match="undefined entity"):
        parse_feed(data)


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: RSS.replace("Sun, 01 Mar 2026", text).encode()))
def test_any_data_is_a_feed_or_a_problem(data: bytes) -> None:
    with contextlib.suppress(FeedProblem):
        assert isinstance(parse_feed(data), list)
