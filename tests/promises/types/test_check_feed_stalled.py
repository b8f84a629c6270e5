# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


def _feed(*items: tuple[str, float]) -> bytes:
    """Return an RSS feed with items of these titles, so many seconds old."""
    texts = "".join(
        f"<item><title>{title}</title><description>see the log</description>"
        f"<pubDate>{formatdate(time.time() - age)}</pubDate></item>"
        for title, age in items
    )
    return f'<rss version="2.0"><channel><title>Backups</title>{texts}</channel></rss>'.encode()


def test_newest_item_of_a_url_is_judged(measure: Measure, serve: Callable[..., str]) -> None:
    pages: dict[str, Any] = {"/feed": (200, {}, _feed(("Backup done", 90_000), ("Backup done again", 9000)))}
    url = f"{serve(pages)}/feed"
    found = measure("check_feed_stalled", url=url)
    assert (found.is_passed, found.message) == (
        True,
        f"{url}: the newest item, 'Backup done again', is 2.5 h old",
    )
    assert found.metrics["age"].value == pytest.approx(9000, abs=100)
    assert found.metrics["items"].value == 2
    stalled = measure("check_feed_stalled", url=url, maximum_age=7200)
    assert (stalled.is_passed, stalled.message) == (False, f"{found.message}, expected at most 2.0 h")
    pages["/feed"] = (500, {}, b"")
    assert measure("check_feed_stalled", url=url) == Measurement.failed(f"{url}: answers 500, expected 200")
    pages["/feed"] = (200, {}, b"<html/>")
    assert measure("check_feed_stalled", url=url) == Measurement.failed(f"{url} is no feed, but <html>")


def test_news_of_a_failure_fail(measure: Measure, tmp_path: Path) -> None:
    path = tmp_path / "feed"

    def judge(**options: Any) -> Measurement:
        return measure("check_feed_stalled", feed_path="feed", **options)

    path.write_bytes(_feed(("Backup failed", 10), ("Backup done", 20), ("Other: FAILED", 5)))
    failed = judge(title="^Backup", ko_pattern="fail")
    assert not failed.is_passed
    assert failed.message.endswith(" s old and holds 'fail'")
    assert not judge(title="^Backup", ok_pattern="done").is_passed
    path.write_bytes(_feed(("Backup failed", 10), ("Backup done", 5)))
    assert judge(title="^Backup", ko_pattern="fail", ok_pattern="done").is_passed
    assert judge(ok_pattern="see the log").is_passed
    assert judge(title="^Restore").message == "feed has no item with '^Restore' in its title and a time, of 2 items"


def test_feed_that_is_not_there_fails(measure: Measure, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    assert measure("check_feed_stalled", url=url) == Measurement.failed(f"{url}: [Errno 111] Connection refused")
    assert measure("check_feed_stalled", feed_path="x") == Measurement.failed("x: No such file or directory")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "url, feed-path: none of them is given. Give one of them."),
        ({"url": "ftp://x/"}, "url: 'ftp://x/' is no such address. Write it like https://host/path."),
        ({"feed_path": "x", "ok_pattern": "["}, "ok-pattern: '[' is no regular expression: "),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_feed_stalled", **options)
    assert str(caught.value).startswith(message)
