# SPDX-License-Identifier: Apache-2.0
"""Feeds: the changes of one node's promises as RSS 2.0, and the feeds of many nodes as OPML 2.0."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from allotment.messages.promise_states import PromiseChange, PromiseStates

_ITEMS: Final = 100
_TITLE: Final = 150  # characters
_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 can't say
_LAST: Final = 253_402_300_799.0  # the end of the year 9999, as a UTC epoch


def rss(states: PromiseStates, link: str) -> bytes:
    """Return the newest changes as a feed whose items keep their ids; ``link`` is the page that the feed belongs to."""
    root = Element("rss", version="2.0")
    channel = SubElement(root, "channel")
    newest = max((item.time for item in states.changes), default=0.0)
    _add(channel, "title", f"Promises of {states.node}")
    _add(channel, "link", link)
    _add(channel, "description", f"Changes of the promises on the node {states.node}, the newest first.")
    _add(channel, "lastBuildDate", _date(newest))
    for change in states.changes[:_ITEMS]:
        item = SubElement(channel, "item")
        first = change.message.partition("\n")[0]
        title = f"{change.partition}/{change.promise} {_WORDS.get(change.status, change.status)}: {first}"
        _add(item, "title", title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}\N{HORIZONTAL ELLIPSIS}")
        _add(item, "description", f"{change.message}\n\nInstance {change.instance}, {change.before or 'new'} before.")
        _add(item, "category", change.status)
        _add(item, "pubDate", _date(change.time))
        _add(item, "guid", _guid(states.node, change)).set("isPermaLink", "false")
    return _bytes(root)


def opml(title: str, feeds: Iterable[tuple[str, str]]) -> bytes:
    """Return a list of feeds, each a name and a URL, that feed readers import."""
    root = Element("opml", version="2.0")
    _add(SubElement(root, "head"), "title", title)
    body = SubElement(root, "body")
    for name, url in feeds:
        SubElement(body, "outline", type="rss", text=_plain(name), title=_plain(name), xmlUrl=_plain(url))
    return _bytes(root)


_WORDS: Final = {"passed": "is kept again", "failed": "is broken", "error": "can't be judged"}


def _add(parent: Element, name: str, text: str) -> Element:
    child = SubElement(parent, name)
    child.text = _plain(text)
    return child


def _plain(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _guid(node: str, change: PromiseChange) -> str:
    parts = (node, change.partition, change.instance, change.promise, f"{change.time:.3f}", change.status)
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:32]


def _date(time: float) -> str:
    return format_datetime(datetime.fromtimestamp(min(max(time, 0.0), _LAST), UTC), usegmt=True)


def _bytes(root: Element) -> bytes:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
