# SPDX-License-Identifier: Apache-2.0
"""Pushing what is built, by the commands, to a folder, to a server and to S3; and building from there."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from benchmarks.small_disk import small_disk
from moto.server import ThreadedMotoServer
from tests.recipes.binary_cache.conftest import Served, Yard

from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.binary_cache import client, keys
from allotment_recipes.binary_cache.caches import BinaryCache, open_cache
from allotment_recipes.binary_cache.entry import Wanted
from allotment_recipes.context import RunContext
from allotment_recipes.journal import Journal
from allotment_recipes.shared_store import remove
from allotment_recipes.tokens import Tokens


def allot(yard: Yard, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "XDG_CONFIG_HOME": str(yard.place / "config")}
    command = [sys.executable, "-m", "allotment", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd=yard.place, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a real server that speaks S3; its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="parts")
    yield "s3://parts/some/folder"
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()  # all its servers share their buckets
    server.stop()


def check_cache(yard: Yard, cache: BinaryCache) -> None:
    """Push a store twice, look at what is there, and read it."""
    assert cache.names("", 10) == [] or cache.names("", 10) == ()
    assert {result.state for result in yard.push("store", cache)} == {"added"}
    assert {result.state for result in yard.push("store", cache)} == {"there"}
    names = sorted(yard.parts.values())
    assert list(cache.names("", 10)) == names
    assert list(cache.names(names[0], 10)) == names[1:]
    assert list(cache.names("", 1)) == names[:1]
    found = cache.entries([*names, "missing-1-00"])
    assert sorted(found) == names
    for data in found.values():
        archive = json.loads(data)["packed"]["archive"]
        whole = b"".join(cache.read(archive["sha256"]))
        assert len(whole) == archive["size"] == cache.size(archive["sha256"])
        assert b"".join(cache.read(archive["sha256"], 7)) == whole[7:]
        assert b"".join(cache.read(archive["sha256"], 7, 99)) == whole[7:99]
    assert cache.size("0" * 64) is None


def test_a_folder_keeps_parts(built: Yard) -> None:
    check_cache(built, open_cache(f"file://{built.place}/cache"))
    built.build("other", [str(built.place / "cache")])
    assert built.log.count("fetched") == 2 and built.greets("other")


def test_a_server_keeps_parts(built: Yard, served: Served) -> None:
    check_cache(built, served.open())
    built.build("other", [served.url])
    assert built.log.count("fetched") == 2 and built.greets("other")


def test_a_bucket_keeps_parts(built: Yard, bucket: str) -> None:
    check_cache(built, open_cache(bucket))
    with pytest.raises(UnreachableError, match="s3://missing/x: "):
        list(open_cache("s3://missing/x").read("0" * 64))
    with pytest.raises(UnreachableError, match="s3://missing/x: "):
        open_cache("s3://missing/x").entries(["part-1-00"])


def test_a_server_keeps_parts_in_a_bucket(built: Yard, served: Served, bucket: str) -> None:
    served.kill()
    served.start("--keep", bucket)
    check_cache(built, served.open())
    built.build("other", [served.url])
    assert built.log.count("fetched") == 2 and built.greets("other")
    names = boto3.client("s3").list_objects_v2(Bucket="parts")["Contents"]
    assert {item["Key"].rsplit("/", 2)[0] for item in names} == {"some/folder", "some/folder/archives"}


def test_a_bucket_that_is_away_is_told(built: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="s3://parts/x: "):
        open_cache("s3://parts/x").entries(["part-1-00"])


def test_the_commands_share_what_is_built(built: Yard, served: Served) -> None:
    token = served.folder / "token"
    first = allot(built, "cache", "push", "--cache", served.url, "--store", "store", "--token-file", token)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("2 added; ") and f"added    {built.parts['greeter']}, " in first.stderr
    again = allot(built, "cache", "push", "--cache", served.url, "--store", "store", "--token-file", token, "--json")
    assert {part["state"] for part in json.loads(again.stdout)["parts"]} == {"there"}
    listed = json.loads(allot(built, "cache", "list", served.url, "--json").stdout)
    assert [(part["part"], part["fits"]) for part in listed["parts"]] == [
        (name, "any store") for name in sorted(built.parts.values())
    ]
    assert built.parts["greeter"] in allot(built, "cache", "list", served.url).stdout
    (served.folder / f"parts/entries/{built.parts['greeter']}.json").write_text("{}")
    parts = json.loads(allot(built, "cache", "list", served.url, "--json").stdout)["parts"]
    assert {part["part"]: part["fits"] for part in parts}[built.parts["greeter"]] == "damaged"
    page = json.loads(allot(built, "cache", "list", served.url, "--limit", "1", "--json").stdout)
    assert page["next"] == sorted(built.parts.values())[0] and len(page["parts"]) == 1


def test_a_release_is_pushed_with_all_that_its_parts_refer_to(built: Yard) -> None:
    release = built.place / "release1"
    manifest = {
        "format": 1, "name": "x", "profile": "software.cfg", "closure": {"sha256": "0" * 64, "size": 1},
        "software_types": {}, "licences": [], "distributions": [],
    }  # fmt: skip
    from allotment_recipes.store import platform_name

    note = json.loads((built.root("store") / f".built/{built.parts['greeter']}.json").read_bytes())
    manifest["parts"] = {platform_name(): {"greeter": note["hash"]}}
    (release / "manifest.json").write_text(json.dumps(manifest))
    done = allot(built, "cache", "push", release, "--cache", "folder", "--store", "store", "--json")
    assert done.returncode == 0, done.stderr
    states = {part["part"]: part["state"] for part in json.loads(done.stdout)["parts"]}
    assert states == dict.fromkeys(built.parts.values(), "added")


def test_nothing_to_push_is_an_error(built: Yard) -> None:
    done = allot(built, "cache", "push", "--cache", "folder", "--store", "empty")
    assert done.returncode == 1 and "has no part of a release to push. Build one, or give its --store." in done.stderr
    done = allot(built, "cache", "push", built.place / "profiles", "--cache", "folder", "--store", "store")
    assert done.returncode == 1 and "profiles holds no built release" in done.stderr


def test_a_part_whose_hash_nobody_noted_is_left_out(built: Yard) -> None:
    path = built.root("store") / f".built/{built.parts['greeting']}.json"
    note = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "hash"}
    path.write_text(json.dumps(note))
    results = {result.part: result for result in built.push("store", open_cache(str(built.place / "c")))}
    assert results[built.parts["greeting"]].state == "refused" and results[built.parts["greeter"]].state == "added"
    assert "its whole hash is not known" in results[built.parts["greeting"]].reason


def test_an_archive_that_was_lost_is_built_by_who_wants_it_and_pushed_again(built: Yard) -> None:
    cache = open_cache(built.folder_cache())
    for path in built.place.glob("cache/archives/*/*"):
        path.unlink()
    built.build("other", [str(built.place / "cache")])
    assert built.log.count("is refused: ") == built.log.count("is not there any more") == 2 and built.greets("other")
    assert {result.bytes > 0 for result in built.push("store", cache)} == {True}
    built.build("another", [str(built.place / "cache")])
    assert built.log.count("fetched") == 2 and built.greets("another")


def taken(yard: Yard, url: str) -> list[str]:
    """Return the parts that a run takes from a cache, asked for each in turn; a build is given no credentials."""
    trusting = ({"url": url, "keys": [yard.key.public]},)
    run = RunContext(yard.place / "process", Journal(immediate=True), yard.place, Tokens(b""), caches=trusting)
    digests = {part: json.loads(data)["packed"]["digest"] for part, data in _entries(yard, url).items()}
    client.look_up(run, [Wanted(yard.root("other") / part, digest) for part, digest in digests.items()])
    found = []
    for part, digest in sorted(digests.items()):
        with tempfile.TemporaryDirectory(dir=yard.place) as folder:
            if client.fetch_part(run, digest, yard.root("other") / part, Path(folder)) is not None:
                found.append(part)
    return found


def _entries(yard: Yard, url: str) -> Mapping[str, bytes]:
    return open_cache(url).entries(sorted(yard.parts.values()))


def test_an_archive_that_a_bucket_has_lost_costs_that_part_only(
    built: Yard, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(bucket)
    built.push("store", cache)
    part = built.parts["greeter"]
    sha256 = json.loads(cache.entries([part])[part])["packed"]["archive"]["sha256"]
    archive = f"archives/{sha256[:2]}/{sha256}"
    name = f"some/folder/{archive}"
    boto3.client("s3").delete_object(Bucket="parts", Key=name)
    with caplog.at_level("INFO", "cache"):
        assert taken(built, bucket) == [built.parts["greeting"]]
    assert f"{part} from {bucket} is refused: {bucket}/{archive} is not there any more" in caplog.text
    assert "left alone" not in caplog.text
    assert [result.part for result in built.push("store", cache) if result.bytes] == [part]
    assert taken(built, bucket) == sorted(built.parts.values())


@pytest.mark.parametrize("kind", ["folder", "bucket", "server"])
@pytest.mark.parametrize("loss", ["archive", "entry"])
def test_what_was_lost_comes_back_also_from_one_who_has_built_other_bytes(
    built: Yard, bucket: str, served: Served, tmp_path: Path, kind: str, loss: str
) -> None:
    """An entry never changes, but one that leads to nothing is as good as none."""
    cache = {"folder": open_cache(str(built.place / "c")), "bucket": open_cache(bucket), "server": served.open()}[kind]
    built.push("store", cache)
    part = built.parts["greeter"]
    sha256 = json.loads(cache.entries([part])[part])["packed"]["archive"]["sha256"]
    name = f"archives/{sha256[:2]}/{sha256}" if loss == "archive" else f"entries/{part}.json"
    if kind == "bucket":
        boto3.client("s3").put_object(Bucket="parts", Key=f"some/folder/{name}", Body=b"{")
    else:
        ((built.place / "c" if kind == "folder" else served.folder / "parts") / name).write_bytes(b"{")
    program = built.root("store") / part / "bin/greeter"
    program.chmod(0o755)
    program.write_bytes(program.read_bytes() + b"\0")
    program.chmod(0o555)
    assert {result.part: result.state for result in built.push("store", cache)}[part] == "added"
    assert json.loads(cache.entries([part])[part])["packed"]["archive"]["sha256"] != sha256
    assert {result.state for result in built.push("store", cache)} == {"there"}
    places = {"folder": str(built.place / "c"), "bucket": bucket, "server": served.url}
    assert taken(built, places[kind]) == sorted(built.parts.values())


def test_a_part_that_names_another_store_is_not_pushed(built: Yard) -> None:
    remove(built.root("store") / built.parts["greeter"])
    built.build("other", stores=(str(built.place / "store"),))
    assert [path.name for path in built.root("other").glob("gree*")] == [built.parts["greeter"]]
    (result,) = built.push("other", open_cache(str(built.place / "c")))
    name = built.root("store") / built.parts["greeting"]
    assert result.state == "refused" and result.reason.startswith(f"it names a part of another store, {name}, ")


def test_a_disk_that_takes_nothing_is_told(built: Yard) -> None:
    done = allot(built, "cache", "push", "--cache", "/dev/full/cache", "--store", "store")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    (built.place / "cache").mkdir()
    (built.place / "cache/archives").touch()
    done = allot(built, "cache", "push", "--cache", "cache", "--store", "store")
    assert done.returncode == 1 and " can't be pushed: " in done.stderr.splitlines()[-1], done.stderr


def test_a_push_that_fails_names_the_full_disk_or_the_server(built: Yard, served: Served) -> None:
    """And not the folder for temporary files, which has space."""
    with small_disk(built.place / "disk", "256k") as disk:
        disk.fill()
        done = allot(built, "cache", "push", "--cache", disk.outside / "cache", "--store", "store")
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert f" can't be pushed: {disk.outside}/cache/" in line and "No space left on device. Mend that" in line
        disk.relieve()
        assert not list((disk.outside / "cache").rglob(".*")), "nothing half is left"
        again = allot(built, "cache", "push", "--cache", disk.outside / "cache", "--store", "store")
        assert again.returncode == 0, again.stderr
    url = served.url
    served.kill()
    done = allot(built, "cache", "push", "--cache", url, "--store", "store")
    assert done.returncode == 1
    assert f"error: {url}: it can't be reached: Connection refused. Mend that and push again: " in done.stderr


# Keys


def key_command(yard: Yard, *arguments: object) -> dict[str, Any]:
    done = allot(yard, "cache", "key", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_keys_are_trusted_and_no_longer(yard: Yard) -> None:
    other = "ed25519:" + "A" * 43 + "="
    assert key_command(yard) == {
        "public": yard.key.public, "trusted": [], "folder": str(yard.place / "config/allotment")
    }  # fmt: skip
    assert key_command(yard, "--trust", other, "--trust", other)["trusted"] == [other]
    path = yard.place / "config/allotment/trusted-keys"
    path.write_text(f"# builders\n{path.read_text()}")
    assert key_command(yard, "--trust", other)["trusted"] == [other]
    assert f"trusted:   {other}" in allot(yard, "cache", "key").stdout
    assert key_command(yard, "--distrust", other)["trusted"] == []
    assert path.read_text() == "# builders\n"


@pytest.mark.parametrize("arguments", [["--trust", "rsa:AAAA"], ["--trust", "ed25519:AAAA"], ["--distrust", "x"]])
def test_what_is_no_key_is_refused(yard: Yard, arguments: Sequence[str]) -> None:
    done = allot(yard, "cache", "key", *arguments)
    assert done.returncode == 1 and done.stderr.startswith("error: ")


def test_a_wrong_line_in_the_list_of_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\nnonsense\n")
    with pytest.raises(AllotmentError, match="keys line 2 is not an Ed25519 key"):
        keys.read_keys(tmp_path / "keys")
    assert keys.read_keys(tmp_path / "missing") == ()


def test_the_configuration_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which the specification says to pass over
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keys.trusted_file() == tmp_path / ".config/allotment/trusted-keys"
    with pytest.raises(AllotmentError, match="no key is trusted"):
        keys.trusted_caches(["https://cache.example"])
    public = keys.own_key().public
    assert keys.trusted_caches(["https://cache.example"]) == [{"url": "https://cache.example", "keys": [public]}]
    assert (tmp_path / ".config/allotment/cache.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("missing", "use", "reason"),
    [
        ("cryptography", "import allotment_recipes.binary_cache.keys", "binary caches need cryptography"),
        ("backports", "from allotment_recipes.binary_cache.zstd import zstd; zstd()", "binary caches need Zstandard"),
        ("obstore", "from allotment_recipes.binary_cache.s3 import S3Cache; S3Cache('s3://x')", "s3://x needs obstore"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_the_extra(missing: str, use: str, reason: str) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\n{use}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert f"{reason}" in done.stderr and "Install allotment.recipes[" in done.stderr
    assert "AllotmentError" in done.stderr.splitlines()[-1]
