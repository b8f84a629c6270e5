# SPDX-License-Identifier: Apache-2.0
"""``allot.lock``: MD5-only profiles are pinned by the sha256 of what the first fetch brought."""

import hashlib
import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.blobs import BlobStore
from allotment.cli import main
from allotment.errors import AllotmentError
from allotment_recipes import lock_file
from allotment_recipes.lock_file import Pin
from allotment_recipes.source_lock import SourceLock

DOWNLOAD = """\
    [buildout]
    parts = one
    [one]
    recipe = slapos.recipe.build:download
    url = {url}
    md5sum = {md5}
    destination = ${{buildout:directory}}/one
    """


def lock(release: Any) -> Any:
    return release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)


def lines(release: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (release.root / "allot.lock").read_text().splitlines()]


def test_what_has_an_md5_only_is_an_error_that_names_the_command(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    result = release.build(DOWNLOAD.format(url=served.url, md5=served.md5))
    assert result.error == (
        f"[one] url: {served.url} has no sha256, and allot.lock has none for it with the md5 {served.md5}. "
        "Run 'allot lock root' once and commit allot.lock, or add 'sha256sum = ...'."
    )
    assert sources.asked == []


@pytest.mark.parametrize("secret", ["joe:pl4nted", "pl4nted"])
def test_a_password_in_an_address_comes_neither_into_the_lock_nor_into_an_error(
    release: Any, sources: Any, secret: str
) -> None:
    served = sources.serve("data", b"hello")
    url = served.url.replace("://", f"://{secret}@")
    release.write_profile(DOWNLOAD.format(url=url, md5=served.md5))
    with pytest.raises(AllotmentError) as raised:
        lock(release)
    assert str(raised.value) == (
        f"[one] url: {served.url} is written with a name or password, which allot.lock would tell. "
        "Take it out, or write the sha256 in the profile: then nothing is recorded."
    )
    assert not (release.root / "allot.lock").exists()
    assert sources.asked == []
    assert "pl4nted" not in release.build().error


def test_what_is_recorded_is_built(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    release.write_profile(DOWNLOAD.format(url=served.url, md5=served.md5))
    assert vars(lock(release)) == {"sources": 1, "new": 1, "gone": 0}
    assert lines(release) == [{"format": 1}, {"url": served.url, "md5": served.md5, "sha256": served.sha256}]
    release.run_twice()
    assert release.text("one") == "hello"


def test_bytes_that_changed_since_are_refused_though_the_md5_is_theirs(release: Any, sources: Any) -> None:
    """What a collision would be: the profile's MD5 fits the bytes that come, the recorded sha256 does not."""
    other = sources.serve("data", b"other bytes")
    release.write_profile(DOWNLOAD.format(url=other.url, md5=other.md5))
    recorded = hashlib.sha256(b"first bytes").hexdigest()
    text = {"url": other.url, "md5": other.md5, "sha256": recorded}
    release.write("allot.lock", f'{{"format": 1}}\n{json.dumps(text)}\n')
    result = release.build()
    assert recorded in result.error
    assert not (release.folder / "one").exists()


def test_what_is_recorded_is_not_fetched_and_not_recorded_again(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    release.write_profile(DOWNLOAD.format(url=served.url, md5=served.md5))
    lock(release)
    before = (release.root / "allot.lock").read_bytes()
    sources.asked.clear()
    sources.serve("data", b"replaced")
    assert vars(lock(release)) == {"sources": 1, "new": 0, "gone": 0}
    assert sources.asked == []
    assert (release.root / "allot.lock").read_bytes() == before


def test_a_wrong_md5_is_recorded_by_nobody(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    good = sources.serve("good", b"good")
    release.write_profile(
        DOWNLOAD.format(url=served.url, md5="0" * 32).replace("parts = one", "parts = two one")
        + f"[two]\n    recipe = slapos.recipe.build:download\n    url = {good.url}\n    md5sum = {good.md5}\n"
    )
    with pytest.raises(
        AllotmentError, match=rf"\[one\] .*/data: its md5 is {served.md5}, and the profile says 0{{32}}"
    ):
        lock(release)
    assert [line.get("sha256") for line in lines(release)] == [None, good.sha256], "what could be had is recorded"
    assert served.sha256 not in BlobStore(release.sources)


def test_a_source_that_is_away_is_named(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    release.write_profile(DOWNLOAD.format(url=f"{served.url}-gone", md5=served.md5))
    with pytest.raises(AllotmentError, match=r"\[one\] http.*/data-gone: the server answered 404"):
        lock(release)


def test_what_no_profile_names_any_more_leaves_the_file(release: Any, sources: Any) -> None:
    served, other = sources.serve("data", b"hello"), sources.serve("other", b"other")
    release.write_profile(DOWNLOAD.format(url=served.url, md5=served.md5))
    lock(release)
    release.write_profile(DOWNLOAD.format(url=other.url, md5=other.md5))
    assert vars(lock(release)) == {"sources": 1, "new": 1, "gone": 1}


def test_a_file_of_the_profiles_tree_needs_no_line(release: Any) -> None:
    release.write("data", "hello")
    md5 = hashlib.md5(b"hello").hexdigest()
    result = release.build(DOWNLOAD.format(url="${:_profile_base_location_}/data", md5=md5).replace("${{", "${"))
    assert result.error == ""
    assert release.text("one") == "hello"
    release.write("data", "changed")
    assert "md5" in release.build().error


def test_our_own_recipes_stay_strict(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    profile = DOWNLOAD.format(url=served.url, md5=served.md5).replace("slapos.recipe.build:", "allotment.recipes:")
    release.write_profile(profile)
    text = {"url": served.url, "md5": served.md5, "sha256": served.sha256}
    release.write("allot.lock", f'{{"format": 1}}\n{json.dumps(text)}\n')
    assert release.build().error.startswith("[one] sha256sum: missing option, and an md5 alone pins nothing")


def test_a_url_without_any_checksum_is_pinned_as_well(release: Any, sources: Any) -> None:
    served = sources.serve("data", b"hello")
    release.write_profile(DOWNLOAD.format(url=served.url, md5=""))
    lock(release)
    assert release.build().error == ""


def test_the_command_writes_the_file_beside_the_profile(
    release: Any, sources: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    served = sources.serve("data", b"hello")
    release.write_profile(DOWNLOAD.format(url=served.url, md5=served.md5))
    arguments = ["lock", str(release.root), "--sources", str(release.sources)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{release.root}/allot.lock: 1 sources, 1 new, 0 gone\n"
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sources": 1, "new": 0, "gone": 0}


BROWSER = """\
    [buildout]
    parts = browser
    [browser]
    recipe = slapos.recipe.build
    mirror = {url} {md5}
    init =
      options['url'], options['md5sum'] = options['mirror'].split()
      options['nothing'] = 'http://localhost:1/x 0123'
    install =
      import shutil
      shutil.copy(self.download({arguments}), location)
    """


@pytest.mark.parametrize("arguments", ["", "*options['mirror'].split()"])
def test_what_inline_python_fetches_is_recorded_as_far_as_options_tell(
    release: Any, sources: Any, arguments: str
) -> None:
    served = sources.serve("data", b"hello")
    result = release.build(BROWSER.format(url=served.url, md5=served.md5, arguments=arguments))
    assert f"[browser] url: {served.url} has no sha256, and allot.lock has none for it with the md5" in result.error
    assert vars(lock(release)) == {"sources": 1, "new": 1, "gone": 0}
    assert lines(release)[1:] == [{"url": served.url, "md5": served.md5, "sha256": served.sha256}]
    release.run_twice()


def test_half_a_source_is_not_recorded(release: Any) -> None:
    class Cut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/data"
        release.write_profile(DOWNLOAD.format(url=url, md5=""))
        try:
            with pytest.raises(AllotmentError, match=rf"\[one\] {url}: the connection was lost"):
                lock(release)
        finally:
            server.shutdown()
            thread.join()
    assert not (release.root / "allot.lock").exists()


CLONE = """\
    [buildout]
    parts = tree
    [tree]
    recipe = slapos.recipe.build:gitclone
    repository = {repository}
    revision = {revision}
    location = ${{buildout:directory}}/copies/tree
    """


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: the first one has the tag v1."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for text in ("one", "two"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        git(folder, "commit", "-q", "-m", text)
        if text == "one":
            git(folder, "tag", "-a", "v1", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("revision", "text"), [("v1", "one"), ("v1-1-g{short}", "two"), ("{short}", "two")])
def test_a_commit_may_be_named_as_git_describes_it(release: Any, repository: Path, revision: str, text: str) -> None:
    revision = revision.format(short=git(repository, "rev-parse", "--short=8", "HEAD"))
    result = release.build(CLONE.format(repository=repository, revision=revision))
    assert result.error == (
        f"[tree] revision: '{revision}' is not a commit's whole id, and allot.lock has none for it. "
        "Run 'allot lock root' once and commit allot.lock, or write the 40 digits."
    )
    lock(release)
    (line,) = lines(release)[1:]
    commit = git(repository, "rev-parse", f"{revision}^{{commit}}")
    assert line == {"repository": str(repository), "revision": revision, "commit": commit}
    git(repository, "tag", "-f", "v1", "HEAD")
    lock(release)
    assert lines(release)[1:] == [line], "what was recorded stays"
    release.run_twice()
    assert release.text("copies/tree/file") == text
    assert (release.folder / "copies/tree").is_symlink()


@pytest.mark.parametrize(
    ("revision", "message"), [("v2", "has no commit v2"), ("-x", "'-x' is no name"), ("a..b", "'a..b' is no name")]
)
def test_a_commit_that_is_not_there_is_named(release: Any, repository: Path, revision: str, message: str) -> None:
    release.write_profile(CLONE.format(repository=repository, revision=revision))
    with pytest.raises(AllotmentError, match=rf"\[tree\] revision: .*{re.escape(message)}"):
        lock(release)
    assert not (release.root / "allot.lock").exists()


GOOD = '{"url": "http://localhost/x", "md5": "", "sha256": "' + "a" * 64 + '"}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "line 1: it is no line of a lock file"),
        ('{"format": 2}', "has format 2, and this is"),
        ('{"format": 1}\nnonsense', "line 2: it is no line of a lock file"),
        ('{"format": 1}\n' + "[" * 100_000, "line 2: it is no line of a lock file"),
        (
            '{"format": 1}\n'
            + "".join(f'{{"eggs": ["a"], "wheels": {{"a": ["{at}", "{"0" * 64}"]}}}}\n' for at in "12"),
            "line 3: a have two different sets of wheels",
        ),
        ('{"format": 1}\n{"url": 1, "md5": "", "sha256": ""}', "line 2: it is no line"),
        ('{"format": 1}\n[]', "line 2: it is no line"),
        ('{"format": 1}\n{"eggs": ["a"], "wheels": {"a": ["1.0", "short"]}}', "line 2: it is no line"),
        ('{"format": 1}\n{"eggs": ["a"], "wheels": ["a"]}', "line 2: it is no line"),
        ('{"format": 1}\n{"repository": "r", "revision": "v1", "commit": "abc"}', "line 2: it is no line"),
        (
            '{"format": 1}\n{"repository": "r", "revision": "v1", "commit": "' + "a" * 40 + '"}\n'
            '{"repository": "r", "revision": "v1", "commit": "' + "b" * 40 + '"}',
            "line 3: v1 is two different commits",
        ),
        ('{"format": 1}\n{"repository": 1, "revision": "v1", "commit": "' + "a" * 40 + '"}', "line 2: it is no line"),
        (f'{{"format": 1}}\n{GOOD}\n{GOOD.replace("aaa", "bbb")}', "line 3: http://localhost/x has two different"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "allot.lock").write_text(text)
    with pytest.raises(AllotmentError, match=problem):
        SourceLock(tmp_path / "allot.lock", tmp_path / "run", tmp_path).complete("x", {"url": "http://localhost/x"})


@given(
    st.dictionaries(st.builds(Pin, st.text(), st.sampled_from(["", "0" * 32])), st.just("a" * 64)),
    st.dictionaries(
        st.tuples(st.text(), st.text()), st.dictionaries(st.text(), st.tuples(st.text(), st.just("b" * 64)))
    ),
    st.dictionaries(st.tuples(st.text(), st.text()), st.just("c" * 40)),
)
def test_what_is_written_is_what_is_read(pins: dict[Pin, str], eggs: Any, commits: Any) -> None:
    contents = lock_file.Contents(pins, eggs, commits)
    assert lock_file.parse(lock_file.text_of(contents).encode(), Path("x")) == contents


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        lock_file.parse(data, Path("x"))
    except AllotmentError as error:
        assert "x" in str(error)


def test_remote_patches_are_pinned_and_local_ones_keep_their_md5(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text("a")
    lock = SourceLock(tmp_path / "allot.lock", tmp_path / "run", tmp_path)
    text = {"url": "http://localhost/b.patch", "md5": "0" * 32, "sha256": "b" * 64}
    (tmp_path / "allot.lock").write_text(f'{{"format": 1}}\n{json.dumps(text)}\n')
    options = {
        "patches": f"{tmp_path}/a.patch#{'1' * 32}\n{tmp_path}/a.patch\nhttp://localhost/b.patch#md5={'0' * 32}\n"
    }
    lock.complete("x", options)
    sha256 = hashlib.sha256(b"a").hexdigest()
    assert options["patches"].split() == [
        f"{tmp_path}/a.patch#{'1' * 32}",
        f"{tmp_path}/a.patch#{sha256}",
        f"http://localhost/b.patch#{'b' * 64}",
    ]


def test_a_file_that_a_part_makes_is_not_pinned(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "made.in").write_text("this run's")
    for closure in (None, tmp_path / "run" / "closure"):
        options = {"url": str(tmp_path / "run" / "made.in")}
        SourceLock(tmp_path / "allot.lock", tmp_path / "run", closure).complete("x", options)
        assert "sha256sum" not in options
