# SPDX-License-Identifier: Apache-2.0
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceState, InstanceStatus
from allotment.messages.service import InstanceInfo
from allotment_testfarm.demo import INSTANCES, Demo, Instance
from allotment_testfarm.local_farm import Places


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>It works</h1>")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def info() -> Iterator[InstanceInfo]:
    """An instance that publishes the URL of a page that works."""
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        wanted, seen = InstanceState.STARTED, InstanceStatus.GREEN
        names = ("site", "inst-1", "site", None, "static-site", "0" * 64, "default")
        yield InstanceInfo(*names, wanted, seen, "n1", "part0", published={"url": url})
        server.shutdown()


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A demo that is not started."""
    return Demo(Places(tmp_path / "demo", tmp_path, tmp_path / "store", tmp_path / "sources"), lambda _: None)


def test_a_page_that_is_what_was_asked_for_is_green(demo: Demo, info: InstanceInfo) -> None:
    assert demo.verify(Instance("site", "static-site", "<h1>It works</h1>"), info) == info.published["url"]


def test_another_page_is_an_error(demo: Demo, info: InstanceInfo) -> None:
    with pytest.raises(AllotmentError) as error:
        demo.verify(Instance("site", "static-site", "<h1>Mine</h1>"), info)
    url = info.published["url"]
    assert str(error.value) == f"{url} of 'site' answers '<h1>It works</h1>', not '<h1>Mine</h1>'."


def test_names_of_instances_are_no_names_of_other_urls() -> None:
    names = [instance.name for instance in INSTANCES]
    assert len({*names, "results", "master"}) == len(names) + 2
