# SPDX-License-Identifier: Apache-2.0
"""The log in a real browser: any line by its link, following that can be left, nothing that axe finds."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parents[3] / "assets" / "axe-core"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.xdist_group("farm-browser"),
    pytest.mark.timeout(300),  # a busy machine renders slowly
]
expect.set_options(timeout=60_000)
CODES = [*range(30, 38), *range(90, 98), 1, 2, 3, 4, 7, 9]
GROUNDS = [49, *range(40, 48), *range(100, 108)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, logs: Any) -> Iterator[Page]:
    context = chromium.new_context(base_url=logs.url)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def long(logs: Any) -> int:
    """A job with more lines than a page shows."""
    return int(logs.job(b"".join(b"line %d\n" % number for number in range(1, 50_001))))


def is_shown(page: Page, line: int) -> bool:
    """Whether a line is within the part of the log that is scrolled into sight."""
    box, inner = page.locator(".log").bounding_box(), page.locator(f"#L{line}").bounding_box()
    assert box and inner
    return box["y"] - 1 <= inner["y"] and inner["y"] + inner["height"] <= box["y"] + box["height"] + 1


def scroll_up(page: Page, lines: int) -> None:
    page.evaluate(f"document.querySelector('.log').scrollTop = -{lines * 18}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_in_any_colour_on_any_ground(chromium: Browser, logs: Any, scheme: Any, width: int) -> None:
    rows = [" ".join(f"\x1b[{code};{ground}mcolour\x1b[0m" for code in CODES) for ground in GROUNDS]
    plain = ["plain " * 600] * 150  # few lines, so that axe is quick, and yet more than a page shows
    job = logs.job("\n".join(plain + rows).encode(), is_running=True)
    context = chromium.new_context(base_url=logs.url, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"/jobs/{job}")
    script = (AXE / "axe.min.js").read_bytes()
    digest, _ = next(line.split() for line in (AXE / "SHA256SUMS").read_text().splitlines() if "axe.min.js" in line)
    assert hashlib.sha256(script).hexdigest() == digest
    page.evaluate(script.decode())
    scroll_up(page, 40)
    logs.write(job, b"\nmore\n")
    expect(page.locator(".log-follow")).to_be_visible()
    for place in (".line:last-child", ".gap"):
        page.evaluate(f"document.querySelector('.log {place}').scrollIntoView()")
        found = page.evaluate("axe.run()")["violations"]
        assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_a_log_opens_at_its_end_and_a_line_that_is_left_out_is_found_by_its_link(page: Page, long: int) -> None:
    page.goto(f"/jobs/{long}")
    expect(page.locator("#L50000")).to_be_visible()
    assert is_shown(page, 50_000)
    expect(page.locator(".gap")).to_have_count(1)
    page.goto(f"/jobs/{long}#L23456")
    expect(page.locator("#L23456")).to_have_class("line linked")
    assert is_shown(page, 23_456)
    expect(page.locator(".gap b")).to_have_text(["501\u201323,355", "23,657\u201349,000"])
    page.locator("#L23460 > a").click()
    expect(page.locator("#L23460")).to_have_class("line linked")
    expect(page.locator(".linked")).to_have_count(1)
    assert page.url.endswith("#L23460")


def test_more_lines_are_shown_and_what_was_in_sight_stays(page: Page, long: int) -> None:
    page.goto(f"/jobs/{long}")
    page.locator(".gap").scroll_into_view_if_needed()
    before = page.locator("#L500").bounding_box()
    page.get_by_role("link", name="the next lines").click()
    expect(page.locator("#L1500")).to_be_attached()
    expect(page.locator(".gap b")).to_have_text("1,501\u201349,000")
    after = page.locator("#L500").bounding_box()
    assert before and after and abs(before["y"] - after["y"]) < 2
    page.locator(".gap").scroll_into_view_if_needed()
    before = page.locator("#L49001").bounding_box()
    page.get_by_role("link", name="the lines before 49,001").click()
    expect(page.locator("#L48001")).to_be_attached()
    after = page.locator("#L49001").bounding_box()
    assert before and after and abs(before["y"] - after["y"]) < 2
    numbers = page.evaluate("[...document.querySelectorAll('.log .line')].map((line) => Number(line.id.slice(1)))")
    assert numbers == [*range(1, 1501), *range(48_001, 50_001)]


def test_a_gap_that_is_filled_is_gone(page: Page, logs: Any) -> None:
    page.goto(f"/jobs/{logs.job(bytes([10]) * 3100)}")
    page.get_by_role("link", name="the next lines").click()
    expect(page.locator(".gap b")).to_have_text("1,501\u20132,100")
    page.get_by_role("link", name="the lines before 2,101").click()
    expect(page.locator(".gap")).to_have_count(0)
    assert page.locator(".log .line").count() == page.evaluate("document.querySelectorAll('[id^=L]').length") == 3100


def test_every_stretch_can_be_read_without_scripts(chromium: Browser, logs: Any, long: int) -> None:
    context = chromium.new_context(base_url=logs.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/jobs/{long}")
    page.get_by_role("link", name="the lines before 49,001").click()
    expect(page.locator("#L48001")).to_be_in_viewport()
    expect(page.locator(".gap b")).to_have_text("501\u201348,000")
    expect(page.locator(".log-follow")).to_be_hidden()
    context.close()


def test_a_running_log_is_followed_until_someone_scrolls_up(page: Page, logs: Any) -> None:
    job = logs.job(b"".join(b"line %d\n" % number for number in range(1, 200)), is_running=True)
    page.goto(f"/jobs/{job}")
    expect(page.locator(".log-state")).to_have_text("Live")
    logs.write(job, b"line 200\n\x1b[31mhalf ")
    expect(page.locator("#L201")).to_have_text("201half")
    logs.write(job, b"a line\n")
    expect(page.locator("#L201 .c1")).to_have_text("half a line")
    assert is_shown(page, 201)
    expect(page.locator(".log-count")).to_have_text("201")
    scroll_up(page, 60)
    seen = page.locator("#L120").bounding_box()
    logs.write(job, b"<b>one ")
    expect(page.locator("#L202")).to_have_text("202<b>one")
    logs.write(job, b"more</b>\nand another\n")
    expect(page.locator(".log-follow")).to_have_text("2 new lines · follow")
    now = page.locator("#L120").bounding_box()
    assert seen and now and abs(now["y"] - seen["y"]) < 2, "what is read stays where it is"
    expect(page.locator("#L202")).to_have_text("202<b>one more</b>")
    page.locator(".log-follow").click()
    expect(page.locator(".log-follow")).to_be_hidden()
    assert is_shown(page, 203)
    logs.end(job)
    expect(page.locator(".log-state")).to_have_text("It has ended")


def test_a_flood_leaves_the_middle_out_and_the_page_small(page: Page, logs: Any) -> None:
    job = logs.job(b"line\n" * 30, is_running=True)
    page.goto(f"/jobs/{job}")
    expect(page.locator(".log-state")).to_have_text("Live")
    for _ in range(10):
        logs.write(job, b"line\n" * 2000)
    logs.write(job, b"x" * 90 + b"\n" + (b"y" * 99 + b"\n") * 50_000 + b"the last\n")
    expect(page.locator("#L70032")).to_have_text("70032the last")
    assert page.locator(".log .line").count() <= 8000
    shown = "[...document.querySelectorAll('.log .line')].map((line) => Number(line.id.slice(1)))"
    numbers = page.evaluate(shown)
    gaps = page.evaluate("[...document.querySelectorAll('.gap')].map((gap) => [+gap.dataset.first, +gap.dataset.last])")
    missing = [number for first, last in gaps for number in range(first, last + 1)]
    assert sorted([*numbers, *missing]) == list(range(1, 70_033)), "each line is there once, or said to be left out"
    logs.end(job)


def test_a_log_goes_on_after_the_web_tier_was_away(chromium: Browser, logs: Any, page: Page) -> None:
    job = logs.job(b"one\n", is_running=True)
    page.goto(f"/jobs/{job}")
    expect(page.locator("#L1")).to_be_attached()
    page.context.set_offline(True)
    logs.write(job, b"two\n")
    page.context.set_offline(False)
    logs.write(job, b"three\n")
    expect(page.locator(".log .line")).to_have_text(["1one", "2two", "3three"])
    logs.end(job)


def test_the_log_of_the_next_attempt_comes_by_itself(page: Page, logs: Any) -> None:
    job = logs.job(b"one\n", is_running=True)
    page.goto(f"/jobs/{job}")
    expect(page.locator("#L1")).to_be_attached()
    logs.end(job, state="waiting")
    expect(page.locator("#log-part")).to_have_attribute("data-live", "")
    logs.again(job, b"the second\n")
    expect(page.locator("#L1")).to_have_text("1the second")
    expect(page.locator(".log-state")).to_have_text("Live")
    logs.end(job)
    expect(page.locator(".log-state")).to_have_text("It has ended")
