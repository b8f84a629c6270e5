# SPDX-License-Identifier: Apache-2.0
"""The items of a feed: RSS 0.9 to 2.0, and Atom."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_ITEMS = ("item", "entry")
_TIMES = ("updated", "pubDate", "date", "published")  # the first that an item has; date: Dublin Core
_TEXTS = ("description", "summary", "content", "encoded")


class FeedProblem(Exception):
    """A text is no feed; the message says why."""


@dataclass(frozen=True)
class Item:
    """One item of a feed."""

    title: str
    text: str
    time: float | None  # UTC epoch, seconds; None: it does not say


def parse_feed(data: bytes) -> list[Item]:
    """Return the items of a feed as they come."""
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise FeedProblem(f"is no XML: {error}") from error
    if _name(root) not in ("rss", "RDF", "feed"):
        raise FeedProblem(f"is no feed, but <{_name(root)[:80]}>")
    return [_item(element) for element in root.iter() if _name(element) in _ITEMS]


def _item(element: ElementTree.Element) -> Item:
    texts: dict[str, str] = {}
    for child in element:
        texts.setdefault(_name(child), "".join(child.itertext()).strip())
    written = next((texts[name] for name in _TIMES if texts.get(name)), "")
    return Item(texts.get("title", ""), " ".join(texts[name] for name in _TEXTS if name in texts), _time(written))


def _name(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _time(text: str) -> float | None:
    """Return what RFC 822 or RFC 3339 call a time, None for anything else; one without a zone is UTC."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
