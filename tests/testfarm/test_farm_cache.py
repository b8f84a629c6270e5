# SPDX-License-Identifier: Apache-2.0
"""The binary cache that the web tier serves, and what the engine tells of it; tests/e2e has test nodes as well."""

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from allotment.errors import AllotmentError, RefusedError
from allotment.messages.binary_cache import PackedPart, SignedPackedPart
from allotment.messages.manifest import Blob
from allotment_recipes.binary_cache import entry
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.signing import SigningKey, load_or_create_key
from allotment_recipes.store import platform_name

pytestmark = pytest.mark.timeout(240)
Eventually = Callable[..., Any]
SIZE = 9 << 20  # bytes: more than a piece of an upload, and than the pages' addresses take


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "builder.key")


def packed(place: Path, key: SigningKey, name: str = "part") -> tuple[SignedPackedPart, Path]:
    """Return what is said to be a packed part, signed."""
    path = place / f"{name}.tar.zst"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    digest = hashlib.sha256(name.encode()).hexdigest()
    blob = Blob(hashlib.sha256(path.read_bytes()).hexdigest(), SIZE)
    part = PackedPart(f"{name}-1-{digest[:32]}", name, "1", digest, platform_name(), "/root", blob, SIZE, 1)
    return entry.sign(part, key), path


def offered(farm: Any, url: str) -> httpx2.Response:
    token = (farm.folder / "node.token").read_text().strip()
    return httpx2.get(f"{url}/wire/v1/cache", headers={"Authorization": f"Bearer {token}"}, timeout=60.0)


def test_large_parts_go_through_the_web_tier_as_they_are(farm: Any, tmp_path: Path, key: SigningKey) -> None:
    told = farm.start(program="run")
    (farm.folder / "builders.pub").write_text(f"{key.public}  # the only one\n")
    url, token = f"{told['url']}/cache", (farm.folder / "node.token").read_text().strip()
    signed, archive = packed(tmp_path, key)
    assert open_cache(url, token).add(signed, archive, lambda size: None)
    sha256 = signed.packed.archive.sha256
    assert b"".join(open_cache(url).read(sha256)) == archive.read_bytes()
    assert b"".join(open_cache(url).read(sha256, 7, 9)) == b"\7\10"
    answer = httpx2.get(f"{url}/api/v1/archives/{sha256}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers  # nor kept in memory, as pages are
    assert answer.headers["content-length"] == str(SIZE)
    assert httpx2.post(f"{told['url']}/api/v1/jobs", content=bytes(5 << 20)).status_code == 413  # others as before


def test_only_test_nodes_give_and_only_what_a_builder_has_signed(farm: Any, tmp_path: Path, key: SigningKey) -> None:
    told = farm.start(program="run")
    url, token = f"{told['url']}/cache", (farm.folder / "node.token").read_text().strip()
    signed, archive = packed(tmp_path, key)
    with pytest.raises(RefusedError, match="needs this cache's token"):
        open_cache(url, "another").add(signed, archive, lambda size: None)
    with pytest.raises(AllotmentError, match=r"is signed by ed25519:.* only, which this cache does not trust"):
        open_cache(url, token).add(signed, archive, lambda size: None)
    (farm.folder / "builders.pub").write_text("nonsense\n")
    with pytest.raises(AllotmentError, match=r"builders.pub line 1 is not"):
        open_cache(url, token).add(signed, archive, lambda size: None)
    assert open_cache(url).names("", 10) == []


def test_test_nodes_are_told_where_the_cache_is_and_whose_parts_are_good(farm: Any, key: SigningKey) -> None:
    told = farm.start(program="run")
    url = told["wire"]
    assert offered(farm, url).json() == {"format": 1, "url": f"{told['url']}/cache", "keys": []}
    (farm.folder / "builders.pub").write_text(f"{key.public}\n")
    assert offered(farm, url).json()["keys"] == [key.public]
    (farm.folder / "builders.pub").write_text("nonsense\n")
    answer = offered(farm, url)
    assert answer.status_code == 400
    assert "builders.pub line 1 is not" in answer.json()["error"]
    assert httpx2.get(f"{url}/wire/v1/cache").status_code == 401


def test_the_cache_is_where_the_operator_wants_it_or_nowhere(farm: Any, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    told = farm.start("--cache", str(place), "--cache-url", "https://cache.example/parts", program="run")
    assert offered(farm, told["wire"]).json()["url"] == "https://cache.example/parts"
    assert httpx2.get(f"{told['url']}/cache/health").json()["status"] == "ok"
    assert farm.signal(signal.SIGTERM) == 0
    told = farm.start("--cache", "off", program="run")
    assert offered(farm, told["wire"]).json()["url"] == ""
    assert httpx2.get(f"{told['url']}/cache/health").status_code == 404


def test_a_place_that_is_none_is_refused_at_the_start(farm: Any) -> None:
    farm.spawn("--cache", "ftp://host/parts", program="run")
    assert farm.process.wait(60) == 1
    assert "'ftp://host/parts' is no binary cache: its scheme is not known" in farm.log.read_text()
