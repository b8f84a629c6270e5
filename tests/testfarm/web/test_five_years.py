# SPDX-License-Identifier: Apache-2.0
"""The results page of 80 releases over the years: it stays small, and reads the window and no more."""

import gzip
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from allotment_master.kit.database import Database
from allotment_testfarm.web.app import create_app

FILES = ("/static/kit/base.css", "/static/farm.css", "/static/refresh.js", "/static/grid.js", "/static/favicon.svg")
TRANSFERRED = 60_000  # bytes, compressed, with all that the page loads


@pytest.fixture(scope="module")
def five_years() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "five_years.py"
    spec = importlib.util.spec_from_file_location("five_years", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["five_years"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def visitor(farm_database: Database, five_years: ModuleType, tmp_path: Path) -> TestClient:
    made = five_years.fill(farm_database, revisions=230, releases=80)
    with farm_database.read() as connection:
        assert connection.execute(sa.text("select count(*) from jobs")).scalar_one() == made
    return TestClient(create_app(farm_database, tmp_path))


def test_200_revisions_of_80_releases_are_one_small_page_and_lead_on(visitor: TestClient) -> None:
    def size(path: str) -> int:
        answer = visitor.get(path)
        assert answer.status_code == 200
        return len(gzip.compress(answer.content, 1))

    source = visitor.get("/").text
    assert source.count('<td class="good"><a') + source.count('<td class="bad"><a') > 30 * 80
    assert source.count('viewBox="0 0 170 1"') == 2 * 80  # each release as it is committed and as it is built at night
    assert sum(map(size, ("/", *FILES))) <= TRANSFERRED
    assert (
        len(re.findall("<[a-z]", source)) < 10_000
    )  # elements: each costs the browser time, though it draws most rows later

    release = visitor.get("/releases/release-07")
    assert release.status_code == 200 and "before=131" in release.text
    oldest = visitor.get("/?before=25")
    assert oldest.status_code == 200 and 'rel="next"' not in oldest.text
