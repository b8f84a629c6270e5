# SPDX-License-Identifier: Apache-2.0
"""The overview: complete without scripts, escaped, accessible, in both schemes and on a phone."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.desired_state import (
    InstanceStatus,
    ObservedInstance,
    ObservedPromise,
    ObservedSoftware,
    ObservedState,
    SoftwareStatus,
)
from allotment.messages.instance import ChildRequest, InstancePublished, InstanceRequests

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = os.environ.get("ALLOTMENT_SCREENSHOTS", "")
AXE = Path(__file__).parents[1] / "assets" / "axe-core"
HOSTILE = "<script>alert('owned')</script>\"><img src=x onerror=alert(1)>"
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


def report(node: Any, name: str, number: int, status: str, **values: Any) -> None:
    """Report on one instance as its node."""
    desired = node.desired(name, 0, 0)
    document = next(item for item in desired.partitions if item.instance == f"inst-{number}")
    seen = ObservedInstance(
        document.partition, document.instance, document.generation, InstanceStatus(status), **values
    )
    node.report(name, ObservedState(instances=(seen,)))


@pytest.fixture
def lively(make_program: Callable[..., Any], make_manifest: Any, promise: Any, tmp_path: Path) -> Any:
    """A master with instances in several states, one node that calls and one that never has."""
    program = make_program()
    closure = tmp_path / "closure"
    closure.write_bytes(b"the closure of a release")
    signed = make_manifest()
    with program.client() as admin:
        admin.put_blob(closure)
        admin.put_manifest(signed)
        token = admin.register_node("production-1", 4, "linux-x86_64", {"zone": "a", "disk": "fast"})
        admin.register_node("production-2", 8, "linux-aarch64")
        admin.supply("production-1", "hello")
        admin.request("hello", "hello", parameters={"password": "planted secret"})
        admin.request("broken", "hello")
        admin.request("homeless", "hello", sla={"label:zone": "b"})
    with program.client(token) as node:
        asked = InstanceRequests(True, (ChildRequest("backend", "hello"),))
        kept = tuple(promise(f"check-{number}", "passed", "it answers") for number in range(3))
        published = InstancePublished({"url": "http://127.0.0.7:8080/", "key": "planted secret"})
        report(node, "production-1", 1, "green", requests=asked, published=published, promises=kept)
        report(node, "production-1", 2, "red", promises=(promise("web", "failed", HOSTILE), *kept))
        ready = ObservedSoftware(signed.manifest.sha256, SoftwareStatus.AVAILABLE)
        node.report("production-1", ObservedState(software=(ready,)))
    return program


def test_overview_shows_states_reasons_and_addresses_and_no_secret(site: Any) -> None:
    house = site.house
    assert "No instance was requested yet" in site.http.get("/").text
    house.ready()
    house.request(parameters={"password": "planted secret"})
    house.publish(house.documents()["one:one"], url="http://127.0.0.7:8080/", key="planted secret", note="unmarked")
    house.request("homeless", sla={"label:zone": "b"})
    text = site.http.get("/").text
    assert '<a href="http://127.0.0.7:8080/"' in text
    assert "is not label:zone=b" in text
    assert "green" in text
    assert "node-1/part0" in text
    assert "planted" not in text
    assert "unmarked" not in text


def test_a_silence_is_shown_with_its_promise(site: Any) -> None:
    site.house.ready()
    site.house.request()
    silenced = ObservedPromise("web", "failed", "nobody answers", 0.0, "ann: new disk on Friday")
    site.house.report(site.house.documents()["one:one"], status="green", promises=(silenced,))
    assert "silenced by ann: new disk on Friday" in site.http.get("/").text


def test_hostile_text_is_escaped(site: Any, promise: Any) -> None:
    site.house.ready()
    site.house.request()
    document = site.house.documents()["one:one"]
    site.house.report(document, status="red", error=HOSTILE, promises=(promise(HOSTILE, "failed", HOSTILE),))
    text = site.http.get("/").text
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;alert") == 3


def test_missing_page_is_a_page_and_a_missing_call_is_json(site: Any) -> None:
    page = site.http.get("/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert set(site.http.get("/api/v1/nothing").json()) == {"error", "fix"}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.xdist_group("master-browser")
@pytest.mark.timeout(300)
def test_axe_finds_nothing_in_either_scheme_on_any_screen(lively: Any) -> None:
    from playwright.sync_api import sync_playwright

    script = (AXE / "axe.min.js").read_bytes()
    assert hashlib.sha256(script).hexdigest() in (AXE / "SHA256SUMS").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for scheme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                viewport = {"width": width, "height": height}
                context = browser.new_context(color_scheme=scheme, viewport=viewport, is_mobile=size == "phone")
                page = context.new_page()
                complaints: list[str] = []
                page.on("console", lambda message, said=complaints: said.append(message.text))
                page.goto(lively.url)
                page.evaluate(script.decode())
                problems = [item["id"] for item in page.evaluate("axe.run()")["violations"]]
                assert (problems, complaints) == ([], []), f"{scheme} {size}"
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                if SCREENSHOTS:
                    page.screenshot(path=Path(SCREENSHOTS) / f"master-{scheme}-{size}.png", full_page=True)
                context.close()
        _without_script_and_by_itself(browser, lively)
        browser.close()


def _without_script_and_by_itself(browser: Any, lively: Any) -> None:
    """Without scripts all is there; with them the page follows what happens."""
    from playwright.sync_api import expect

    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(lively.url)
    expect(plain.get_by_role("rowheader", name="hello/backend")).to_be_visible()
    page = browser.new_context().new_page()
    page.goto(lively.url)
    with lively.client() as admin:
        admin.request("newcomer", "hello")
    expect(page.get_by_role("rowheader", name="newcomer")).to_be_visible(timeout=30_000)
