# SPDX-License-Identifier: Apache-2.0
"""The kit does what it says, and fails a test when a recipe is not as it should be."""

import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.messages.instance import ChildAnswer, InstanceState, SharedInstance
from allotment_recipes.recipes import wrapper
from allotment_recipes.testing import FakeSources, Partition, Release, Upstream, archive, given_instance, tree

PROFILE = """
    [buildout]
    parts = conf run

    [conf]
    recipe = allotment.recipes:template.jinja2
    inline = at {{ folder }}
    output = ${buildout:directory}/etc/conf
    context = raw folder ${buildout:directory}
    mode = 0640

    [run]
    recipe = allotment.recipes:wrapper
    command-line = true
    wrapper-path = bin/run
    """
ONE = "[buildout]\nparts = part\n[part]\nrecipe = allotment.recipes:template.jinja2\noutput = o\n"


def test_a_recipe_is_made_of_options(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    make_recipe(wrapper.Recipe, {"command-line": "true", "wrapper-path": "bin/run"}).install()
    assert tree(tmp_path) == {"bin/run": ("0700", '#!/bin/sh -e\nexec true "$@"\n')}


def test_a_tree_shows_modes_links_contents_and_empty_folders(tmp_path: Path) -> None:
    for name in ("a/b", "empty", "private"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    (tmp_path / "a/b/text").write_text(f"in {tmp_path}/a on {sys.prefix}")
    (tmp_path / "a/b/bytes").write_bytes(b"\xff")
    (tmp_path / "private/link").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for file in tmp_path.glob("a/b/*"):
        file.chmod(0o604)
    assert tree(tmp_path, {sys.prefix: "@environment@"}) == {
        "a/b/bytes": ("0604", b"\xff"),
        "a/b/text": ("0604", "in @folder@/a on @environment@"),
        "empty/": "0755",
        "pipe": "neither a file, a folder nor a link",
        "private/": "0700",
        "private/link": "-> @folder@/nowhere",
    }


def test_a_profile_runs_twice_and_loses_a_part(partition: Partition) -> None:
    partition.run_twice(PROFILE)
    assert partition.tree()["etc/conf"] == ("0640", "at @folder@")
    assert partition.installed()["conf"] == [str(partition.folder / "etc/conf")]
    assert partition.remove("conf") == ["etc/conf"]
    assert list(partition.tree()) == ["bin/run", "etc/"]
    assert partition.run().outcome == "done"
    assert partition.text("etc/conf") == f"at {partition.folder}"


def test_removing_what_is_not_there_or_needed_fails(partition: Partition) -> None:
    partition.run_twice(PROFILE.replace("true", "cat ${conf:output}"))
    with pytest.raises(AssertionError, match=r"not installed: comf; installed: conf, run"):
        partition.remove("comf")
    with pytest.raises(AssertionError, match="still installed, because another part refers to it: conf"):
        partition.remove("conf")
    assert partition.remove("conf", "run") == ["bin/run", "etc/conf"]


def test_the_instance_is_what_the_test_says(partition: Partition) -> None:
    partition.parameters = {"size": 3}
    partition.shared = (SharedInstance("tenant", {"domain": "example.org"}),)
    partition.state = InstanceState.STOPPED
    partition.software_type = "small"
    partition.addresses = ("127.0.0.7",)
    result = partition.run("""
        [buildout]
        parts = publish child

        [slap]
        recipe = allotment.recipes:slapconfiguration

        [publish]
        recipe = allotment.recipes:publish
        size = ${slap:configuration.size}
        type = ${slap:slap-software-type}
        state = ${slap:instance-state}

        [child]
        recipe = allotment.recipes:request
        name = database
        release = mariadb
        """)
    assert result.outcome == "done", result.error
    assert partition.published.values == {"size": "3", "type": "small", "state": "stopped"}
    assert [child.name for child in partition.requests.requests] == ["database"]
    assert given_instance(name="other").name == "other"


def test_an_answer_of_a_child_arrives(partition: Partition) -> None:
    profile = """
        [buildout]
        parts = publish

        [child]
        recipe = allotment.recipes:request
        name = database
        release = mariadb
        return = url

        [publish]
        recipe = allotment.recipes:publish
        url = ${child:connection-url}
        """
    assert (first := partition.run(profile)).outcome == "waiting", first.error
    with pytest.raises(AssertionError, match=r"^waiting: .*database"):
        partition.run_twice()
    partition.answers = {"database": ChildAnswer(InstanceState.STARTED, {"url": "mysql://x"})}
    partition.run_twice()
    assert partition.published.values == {"url": "mysql://x"}


def test_a_failed_run_is_a_result_and_a_bug_is_seen(
    partition: Partition, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = partition.run(f"{ONE}mode = rw")
    assert (result.outcome, result.error) == ("failed", "[part] mode: 'rw' is not an octal number. Write it like 0644.")
    with pytest.raises(AssertionError, match=r"\[part\] mode: 'rw'"):
        partition.run_twice()
    monkeypatch.setattr("allotment_recipes.recipes.template.Recipe.install", lambda self: 1 / 0)
    result = partition.run(f"{ONE}inline = text")
    assert result.error == "ZeroDivisionError: division by zero"
    assert "Traceback" in capfd.readouterr().err


def test_the_second_run_is_judged(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(recipe: wrapper.Recipe) -> list[Path]:
        return [recipe.write("clock", str(time.monotonic_ns()))]

    monkeypatch.setattr(wrapper.Recipe, "install", install)
    with pytest.raises(AssertionError, match=r"the second run changed clock$"):
        partition.run_twice(PROFILE)


def test_a_run_leaves_the_process_as_it_was(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    os.umask(mask := os.umask(0o077))

    def state() -> list[Any]:
        os.umask(now := os.umask(0))
        files = [Path(f"/proc/self/fd/{number}").readlink() for number in range(3)]
        return [now, Path.cwd(), dict(os.environ), list(sys.argv), logging.getLogger().handlers[:], files]

    before = state()
    partition.run(PROFILE)
    partition.run("nonsense")
    assert state() == before
    assert mask == before[0]


def test_programs_that_recipes_start_speak_into_the_log(release: Release) -> None:
    release.build("""
        [buildout]
        parts = hello

        [hello]
        recipe = allotment.recipes:mkdirectory
        etc = ${buildout:directory}/etc
        """)
    assert "Installing hello" in release.log.read_text()


def test_a_release_is_built_of_sources_that_the_test_made(release: Release, sources: FakeSources) -> None:
    served = sources.serve("hello.txt", b"hello")
    cached = sources.add(b"cached")
    release.run_twice(f"""
        [buildout]
        parts = one two

        [one]
        recipe = allotment.recipes:download
        url = {served.url}
        sha256sum = {served.sha256}

        [two]
        recipe = allotment.recipes:download
        url = {cached.url}
        sha256sum = {cached.sha256}
        """)
    assert sources.asked == ["hello.txt"]
    assert served.sha256 in BlobStore(release.sources)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(served.url + "x", timeout=60)
    assert sources.asked == ["hello.txt", "hello.txtx"]


def test_an_archive_has_a_folder_on_top_and_always_the_same_bytes(tmp_path: Path) -> None:
    data = archive({"configure": "#!/bin/sh\n", "doc/x": b"\x00"}, "hello-1.0")
    assert data == archive({"configure": "#!/bin/sh\n", "doc/x": b"\x00"}, "hello-1.0")
    (tmp_path / "a.tar.gz").write_bytes(data)
    listing = subprocess.run(["tar", "tvf", tmp_path / "a.tar.gz"], capture_output=True, text=True, check=True).stdout
    assert [(line[:10], line.split()[-1]) for line in listing.splitlines()] == [
        ("-rwxr-xr-x", "hello-1.0/configure"),
        ("-rw-r--r--", "hello-1.0/doc/x"),
    ]


def test_upstream_runs_the_same_recipes(upstream: Upstream) -> None:
    upstream.run_twice(PROFILE)
    assert upstream.tree()["etc/conf"] == ("0640", "at @folder@")
    assert upstream.remove("conf") == ["etc/conf"]
    done = upstream.run("[buildout]\nparts = a\n[a]\nrecipe = allotment.recipes:wrapper\n")
    assert done.returncode == 1
    assert "[a] command-line: missing option. Add 'command-line = ...'." in done.stdout


def test_a_project_of_somebody_else_has_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text('pytest_plugins = ["allotment_recipes.testing.fixtures"]\n')
    (tmp_path / "tests/test_it.py").write_text(
        "def test_it(partition, release, upstream, sources, make_recipe):\n"
        "    partition.run_twice('[buildout]\\nparts =\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
