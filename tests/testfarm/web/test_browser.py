# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser: accessible in both schemes at both widths, quiet under the policy, alive when they move.

With ``ALLOTMENT_SCREENSHOTS=FOLDER`` pictures of the pages are written there: so those in docs/screenshots are made.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import events
from allotment_testfarm.db.schema import jobs

HOSTILE = "<script>alert('owned')</script>\"><img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium")
SCREENSHOTS = os.environ.get("ALLOTMENT_SCREENSHOTS", "")
AXE = Path(__file__).parents[2] / "assets" / "axe-core"
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.xdist_group("farm-browser"),
    pytest.mark.timeout(300),  # a busy machine renders slowly
]
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(chromium: Browser, scheme: str, size: str, site: str) -> Iterator[BrowserContext]:
    width, height = SIZES[size]
    is_phone = size == "phone"
    made = chromium.new_context(
        base_url=site,
        color_scheme=scheme,  # type: ignore[arg-type]  # one of two words
        viewport={"width": width, "height": height},
        is_mobile=is_phone,
        has_touch=is_phone,
        device_scale_factor=2 if is_phone and not SCREENSHOTS else 1,
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility checker's script, whose checksum is compared before it is used."""
    script = (AXE / "axe.min.js").read_bytes()
    digest, _ = next(line.split() for line in (AXE / "SHA256SUMS").read_text().splitlines() if "axe.min.js" in line)
    assert hashlib.sha256(script).hexdigest() == digest
    return script.decode()


def places(sample: Any) -> dict[str, str]:
    named = ("red", "green", "running", "waiting", "hostile")
    return {
        "results": "/",
        "results-few": "/?project=hello",
        **{f"job-{name}": f"/jobs/{getattr(sample, name)}" for name in named},
        "nodes": "/nodes",
        "queue": "/queue",
        "release": "/releases/nginx",
        "revision": "/revisions/80b8878b02",
        "revision-hostile": f"/revisions/{sample.hostile_commit}",
        "missing": "/jobs/999999",
    }


def listen(page: Page) -> list[str]:
    """Collect what the browser complains about: scripts, styles, the policy; a missing page is no complaint."""
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    return complaints


def test_axe_finds_nothing_and_nothing_is_cut(
    context: BrowserContext, axe: str, sample: Any, scheme: str, size: str
) -> None:
    page = context.new_page()
    complaints = listen(page)
    for name, path in places(sample).items():
        page.goto(path)
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        problems = [(item["id"], [node["html"] for node in item["nodes"]]) for item in found["violations"]]
        assert problems == [], f"{name} {scheme} {size}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], f"{name} is wider than {size}"
        if SCREENSHOTS:
            _shoot(page, f"farm-{name}-{scheme}-{size}", 1600 if name.startswith("job") else SIZES[size][1])
    assert [text for text in complaints if "404" not in text] == []


def _shoot(page: Page, name: str, height: int) -> None:
    folder = Path(SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    width, whole = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    part = {"x": 0, "y": 0, "width": width, "height": min(height, whole)}
    page.screenshot(path=folder / f"{name}.png", full_page=True, clip=part)  # type: ignore[arg-type]  # a FloatRect
    sys.stderr.write(f"{folder / name}.png\n")


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    made = chromium.new_context(base_url=site)
    yield made.new_page()
    made.close()


def test_the_keyboard_reaches_content_table_and_cells(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})  # the table has to scroll
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(5):  # the other project, the queue, the red release, its commit, the table
        page.keyboard.press("Tab")
    expect(page.get_by_role("region", name="Results by release and revision")).to_be_focused()
    before = page.evaluate("document.activeElement.scrollTop")
    page.keyboard.press("End")
    for _ in range(100):  # it scrolls smoothly; wait_for_function would need an eval, which the policy forbids
        if page.evaluate("document.activeElement.scrollTop") > before:
            break
        page.wait_for_timeout(50)
    assert page.evaluate("document.activeElement.scrollTop") > before
    headers = page.locator(".grid thead th").first.bounding_box()
    box = page.locator(".grid-box").bounding_box()
    assert headers and box and abs(headers["y"] - box["y"]) < 3, "the headers stay in sight"


def test_arrow_keys_go_from_cell_to_cell(page: Page, sample: Any) -> None:
    page.goto("/")
    red = page.locator(f'.grid a[href="/jobs/{sample.red}"]')
    red.focus()
    for key, column, row in (("ArrowRight", 2, 0), ("ArrowDown", 2, 1), ("h", 1, 1), ("k", 1, 0)):
        page.keyboard.press(key)
        expect(page.locator(".grid tbody tr").nth(row).locator("th, td").nth(column).locator("a")).to_be_focused()
    page.get_by_role("region", name="Results by release and revision").focus()
    page.keyboard.press("Tab")  # the whole table is one stop
    expect(red).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Older revisions", exact=True)).to_be_focused()
    red.focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".grid .commits th").nth(1).locator("a")).to_be_focused()


@pytest.mark.parametrize("query", ["", "?revisions=100"])  # the second is wider than the window
def test_columns_stand_below_their_headers(page: Page, query: str) -> None:
    page.goto(f"/{query}")
    header, first, last = (
        page.evaluate("row => [...document.querySelector(row).cells].map(cell => cell.getBoundingClientRect().x)", row)
        for row in (".grid .commits", ".grid tbody tr", ".grid tbody:last-child tr:last-child")
    )
    assert header == first == last
    days = page.evaluate(
        "[...document.querySelectorAll('.days th')].map(day => [day.colSpan, day.getBoundingClientRect().x])"
    )
    place = 1
    for columns, left in days:
        assert left == header[place]
        place += columns


def test_every_cell_is_there_for_who_hears_the_page(page: Page, sample: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 100})  # most rows are far from sight: they are not drawn yet
    page.goto("/")
    far = page.locator(".grid tbody").last.locator("tr:last-child a").first
    assert not far.evaluate("link => link.checkVisibility({contentVisibilityAuto: true})")
    links = page.get_by_role("table").get_by_role("row", name="kvm").get_by_role("cell").get_by_role("link")
    expect(links).to_have_count(30 + 1 + 2 + 1)  # jobs and the past, by revision and by night
    expect(page.get_by_role("table").get_by_role("link", name="new failure", exact=True).first).to_have_text("✗")


def test_the_table_tells_what_is_under_the_pointer(page: Page, sample: Any) -> None:
    page.goto("/")
    page.locator(f'.grid a[href="/jobs/{sample.red}"]').hover()
    expect(page.locator(".readout")).to_have_text("nginx, new failure: 80b8878b02 promises: say which port was closed")
    page.locator(".grid tbody tr").first.locator(".past a").hover(position={"x": 1, "y": 5})
    expect(page.locator(".readout")).to_have_text("nginx: b881beff11 kvm: give the guest the entropy that it asks for")
    expect(page.locator(".grid tbody tr").first.locator(".past a")).to_have_attribute("href", re.compile("before=71$"))


def test_a_log_opens_at_its_end_and_a_linked_line_is_in_sight(page: Page, sample: Any) -> None:
    page.goto(f"/jobs/{sample.red}")
    assert page.evaluate("document.querySelector('.log').scrollTop") == 0
    assert is_shown(page, ".log .line:last-child")
    page.goto(f"/jobs/{sample.red}#L12")
    expect(page.locator("#L12")).to_be_in_viewport()
    assert is_shown(page, "#L12")


def is_shown(page: Page, line: str) -> bool:
    """Whether a line is within the part of the log that is scrolled into sight."""
    box, inner = page.locator(".log").bounding_box(), page.locator(line).bounding_box()
    assert box and inner
    return box["y"] <= inner["y"] and inner["y"] + inner["height"] <= box["y"] + box["height"] + 1


def test_everything_is_there_without_scripts(chromium: Browser, site: str, sample: Any) -> None:
    context = chromium.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("region", name="Summary").get_by_role("link", name="nginx").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nginx")
    expect(page.get_by_role("region", name="Log", exact=True)).to_contain_text("1 failed, 5 passed")
    expect(page.get_by_role("article")).to_have_count(2)
    context.close()


def test_a_running_page_follows_and_keeps_its_place(page: Page, sample: Any) -> None:
    database = Database(sqlite_url(str(sample.folder / "farm.sqlite")))
    log = next((sample.folder / "logs").glob(f"{sample.running}-1.log"))
    earlier = log.read_text()
    page.goto(f"/jobs/{sample.running}")
    with page.expect_request(f"**/jobs/{sample.running}?lines=no"):  # the log comes by a stream of its own
        page.get_by_role("region", name="Steps").focus()
    log.write_text(earlier + "<b>a new line</b>\n")
    try:
        expect(page.locator(".log .line").last).to_have_text("4<b>a new line</b>")
        expect(page.get_by_role("region", name="Steps")).to_be_focused()
        _set(database, sample.running, state="done", outcome="passed", verdict="passed", colour="green")
        expect(page.get_by_role("region", name="Verdict")).to_contain_text("Passed")
        expect(page.locator("[data-live]")).to_have_count(0)
        expect(page).to_have_title("kvm at 80b8878b02: passed · Allotment test farm")
    finally:
        log.write_text(earlier)
        _set(database, sample.running, state="leased", outcome=None, verdict=None, colour=None)
        database.close()


def test_a_page_on_which_nothing_moves_asks_now_and_then(page: Page, sample: Any) -> None:
    database = Database(sqlite_url(str(sample.folder / "farm.sqlite")))
    page.clock.install()
    page.goto(f"/revisions/{sample.hostile_commit}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/revisions/" in request.url else None)
    page.clock.run_for(9_000)
    assert asked == []
    _set(database, sample.hostile, verdict_detail="told anew")
    try:
        with page.expect_response("**/revisions/*"):
            page.clock.run_for(1_500)
        expect(page.get_by_role("region", name="Jobs of this revision")).to_contain_text("told anew")
        assert len(asked) == 1
    finally:
        _set(database, sample.hostile, verdict_detail=HOSTILE)
        database.close()


def _set(database: Database, job: int, **values: object) -> None:
    with database.write() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job).values(**values))
        events.record(connection, 0.0, "job.judged", f"job/{job}")
