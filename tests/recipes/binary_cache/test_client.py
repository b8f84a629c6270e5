# SPDX-License-Identifier: Apache-2.0
"""Parts that come from a binary cache instead of being built."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.binary_cache.conftest import Liar, Yard, wait

from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.shared_store import remove
from allotment_recipes.signing import load_or_create_key
from allotment_recipes.stores.verify import verify


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Map each name to its mode, and to its bytes or link as they would be in any store."""
    found = {}
    for path in folder.rglob("*"):
        is_link = path.is_symlink()
        content = os.fsencode(path.readlink()) if is_link else path.read_bytes() if path.is_file() else b""
        mode = stat.S_IMODE(path.lstat().st_mode)
        found[str(path.relative_to(folder))] = (mode, content.replace(os.fsencode(folder.parent), b"@store@"))
    return found


def test_a_part_comes_to_another_store_as_it_was_built(built: Yard) -> None:
    url = built.folder_cache()
    built.build("elsewhere/of/another/length", [url])
    assert "building" not in built.log
    assert built.greets("elsewhere/of/another/length")
    here, there = built.root("store"), built.root("elsewhere/of/another/length")
    for part in built.parts.values():
        assert tree(here / part) == tree(there / part)
        assert f"fetched {part}, " in built.log
        note = json.loads((there / f".built/{part}.json").read_bytes())
        assert note["fetched"]["url"] == url and note["hash"][:32] == part[-32:]
    assert not [path for path in there.rglob("*") if str(here) in str(path.is_symlink() and path.readlink())]


def test_what_was_fetched_is_known_to_the_store_like_what_was_built(built: Yard) -> None:
    built.build("other", [built.folder_cache()])
    root = built.root("other")
    note = json.loads((root / f".built/{built.parts['greeter']}.json").read_bytes())
    assert note["references"] == [built.parts["greeting"]]
    assert (
        note["seconds"]
        == json.loads((built.root("store") / f".built/{built.parts['greeter']}.json").read_bytes())["seconds"]
    )
    assert {part.name: part.problems for part in verify(root)} == dict.fromkeys(sorted(built.parts.values()), ())


def test_no_source_is_fetched_for_a_part_that_a_cache_has(built: Yard) -> None:
    url = built.folder_cache()
    (built.place / "greeting.tar").unlink()
    (built.place / "greeter.tar").unlink()
    built.build("other", [url])
    assert built.greets("other")


def test_a_part_that_no_cache_has_is_built(built: Yard) -> None:
    url = built.folder_cache()
    (built.place / "cache/entries" / f"{built.parts['greeter']}.json").unlink()
    built.build("other", [url])
    assert f"building {built.parts['greeter']}" in built.log
    assert f"fetched {built.parts['greeting']}" in built.log
    assert built.greets("other")


def test_caches_are_asked_in_order(built: Yard) -> None:
    url = built.folder_cache()
    (built.place / "empty").mkdir()
    built.build("other", [str(built.place / "empty"), url, "http://127.0.0.1:1"])
    assert built.log.count(f"from {url} in") == 2
    assert "127.0.0.1" not in built.log  # nothing was left to ask it for


def test_a_part_that_was_missing_a_moment_ago_is_not_asked_for_again(built: Yard) -> None:
    url = str(built.place / "cache")
    request = built.request("other", [url])
    built.run(request)
    assert built.log.count(f"the binary cache {url} has nothing: there is no such folder") == 1
    built.folder_cache()
    remove(built.root("other"))
    state = request.folder / ".build/caches.json"
    state.write_bytes(
        re.sub(rb":\d{10}\.\d+", b":%.1f" % (time.time() - 1), state.read_bytes())
    )  # however slow that was
    built.run(request)
    assert "fetched" not in built.log
    state.write_bytes(re.sub(rb":\d{10}\.\d+", b":1.5", state.read_bytes()))  # a minute later
    remove(built.root("other"))
    built.run(request)
    assert built.log.count("fetched") == 2


def test_a_cache_that_is_away_is_asked_once_a_build(built: Yard) -> None:
    began = time.monotonic()
    built.build("other", ["http://127.0.0.1:1"])
    assert built.greets("other")
    assert time.monotonic() - began < 60
    assert built.log.count("is left alone for this build") == 1
    assert "http://127.0.0.1:1 is left alone for this build: it can't be reached: Connection refused" in built.log


def test_a_part_that_is_fixed_to_its_root_is_taken_there_and_refused_elsewhere(yard: Yard) -> None:
    yard.write(
        {"greeting": "post-install = gzip -n -9 @@LOCATION@@/share/greeting -c > @@LOCATION@@/share/greeting.gz\n"}
    )
    yard.build("store")
    url = yard.folder_cache()
    yard.build("other", [url])
    reason = f"it works in {yard.root('store')} only, for share/greeting.gz names the store compressed by gzip"
    assert f"{yard.parts['greeting']} from {url} is refused: {reason}" in yard.log
    assert f"building {yard.parts['greeting']}" in yard.log
    remove(yard.root("store"))
    yard.build("store", [url])
    assert f"fetched {yard.parts['greeting']}" in yard.log


def test_two_builds_at_once_take_each_part_once(built: Yard) -> None:
    url = built.folder_cache()
    requests = [built.request("other", [url]) for _ in range(2)]
    threads = [threading.Thread(target=built.run, args=[request]) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logs = "".join((request.folder / "build.log").read_text() for request in requests)
    assert logs.count("fetched") == 2 and "building" not in logs
    assert built.greets("other")


KILLED = """\
import sys
from pathlib import Path
from allotment_recipes.binary_cache import client
from allotment_recipes.context import RunContext
from allotment_recipes.journal import Journal
from allotment_recipes.tokens import Tokens
folder, url, key, digest, location, target = sys.argv[1:]
run = RunContext(Path(folder), Journal(immediate=True), Path(folder) / "sources", Tokens(b""),
                 caches=({"url": url, "keys": [key]},))
Path(target).mkdir(parents=True)
print(client.fetch_part(run, digest, Path(location), Path(target)))
"""


def test_a_download_goes_on_where_a_kill_has_ended_it(built: Yard, tmp_path: Path, liar: Liar) -> None:
    liar.bytes_a_second = 2000
    part = built.parts["greeter"]
    signed = json.loads((built.place / f"cache/entries/{part}.json").read_bytes())["packed"]
    common = [built.key.public, signed["digest"], str(built.root("other") / part)]
    command = [sys.executable, "-c", KILLED, str(tmp_path), liar.url, *common, str(tmp_path / "first")]
    partial = tmp_path / "sources/.packed" / signed["archive"]["sha256"]
    with subprocess.Popen(command) as process:
        wait(lambda: partial.exists() and partial.stat().st_size)
        process.send_signal(signal.SIGKILL)
    have = partial.stat().st_size
    assert 0 < have < signed["archive"]["size"]
    liar.bytes_a_second = 1e9
    command[-1] = str(tmp_path / "second")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert signed["archive"]["sha256"] in done.stdout, done.stderr
    assert liar.ranges[-1] == f"bytes={have}-"
    assert tree(tmp_path / "second").keys() == tree(built.root("store") / part).keys()
    assert not partial.exists()


def test_a_cache_that_one_part_has_found_away_is_left_alone_by_the_others(
    built: Yard, tmp_path: Path, liar: Liar
) -> None:
    """Also when another one had asked it before that, and is answered afterwards."""
    parts = sorted(built.parts.values())
    said: list[str] = []
    waiting = KILLED.replace("Path(target)", "input(print('ready', flush=True) or '')\nPath(target)", 1)

    def fetch(part: str, target: str, code: str = KILLED) -> "subprocess.Popen[str]":
        digest = json.loads((built.place / f"cache/entries/{part}.json").read_bytes())["packed"]["digest"]
        words = [liar.url, built.key.public, digest, str(built.root("other") / part), str(tmp_path / target)]
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *words], stdin=pipe, stdout=pipe, text=True)

    def answer(handler: Any) -> bool:
        if len(liar.paths) == 1:
            said.append(second.communicate("\n", timeout=60)[0])
        elif len(liar.paths) == 2:
            handler.reply(503, b"")
        return len(liar.paths) == 2 and not said

    liar.answer = answer
    second = fetch(parts[1], "second", waiting)
    assert second.stdout is not None and second.stdout.readline() == "ready\n"
    assert parts[0].rpartition("-")[2] in fetch(parts[0], "first").communicate(timeout=60)[0]
    assert said == ["None\n"]
    liar.paths.clear()
    liar.answer = lambda handler: False
    assert fetch(parts[1], "third").communicate(timeout=60)[0] == "None\n"
    assert liar.paths == []


def test_what_a_stranger_left_of_a_download_is_not_believed(built: Yard, liar: Liar) -> None:
    request = built.request("other", [liar.url])
    for entry in (built.place / "cache/entries").glob("*.json"):
        archive = json.loads(entry.read_bytes())["packed"]["archive"]
        path = request.sources / ".packed" / archive["sha256"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (archive["size"] // 2))
    built.run(request)
    assert built.log.count("fetched") == 2 and built.greets("other")


def test_keys_of_strangers_are_not_trusted(built: Yard, tmp_path: Path) -> None:
    stranger = load_or_create_key(tmp_path / "stranger")
    cache = open_cache(str(built.place / "cache"))
    built.push("store", cache, stranger)
    built.build("other", [str(built.place / "cache")])
    part = built.parts["greeter"]
    assert f"is refused: {part} is signed by {stranger.public} only, which this build does not trust" in built.log
    assert f"building {part}" in built.log and built.greets("other")


@pytest.mark.parametrize(
    "scheme",
    [
        "gopher://x",
        "http:///nowhere",
        "http://127.0.0.1:99999",
        "http://[::1",
        "file://other-host/cache",
        "/dev/null/cache",
    ],
)
def test_an_address_that_is_none_is_told_and_all_is_built(built: Yard, scheme: str) -> None:
    built.build("other", [scheme])
    assert f"{scheme} is left alone for this build" in built.log and built.greets("other")
