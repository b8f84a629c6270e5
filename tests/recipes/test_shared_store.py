# SPDX-License-Identifier: Apache-2.0
"""The store under several builders, kills and a full disk; real builds with the real compiler."""

import hashlib
import io
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment.errors import AllotmentError
from allotment_recipes.shared_store import Store, remove, seal
from allotment_recipes.store import padded_root

FILES = {
    "Makefile": """\
all: one two three
%: %.c
\t$(CC) $(CFLAGS) -o $@ $<
install: all
\tmkdir -p $(PREFIX)/bin
\tcp one $(PREFIX)/bin/
\tcp two $(PREFIX)/bin/
\tcp three $(PREFIX)/bin/
""",
    **{f"{name}.c": f"int main(void) {{ return {number}; }}\n" for number, name in enumerate(("one", "two", "three"))},
}
BUILD = """\
import sys
from pathlib import Path
from typing import Any
from allotment_recipes.engine import BuildEngine, BuildRequest
place, folder = Path(sys.argv[1]), Path(sys.argv[2])
with BuildEngine() as engine:
    request = BuildRequest(place / "profiles", "software.cfg", folder, place / "sources", 60.0, store=Path(sys.argv[3]))
    result = engine.build(request, folder / "build.log")
print(result.error)
sys.exit(not result.ok)
"""


@dataclass(frozen=True)
class Yard:
    """A profile of two parts, and builds of it in processes of their own."""

    place: Path
    inside: tuple[str, ...] = ()  # words before a build's own command

    def write(self, extra: str = "") -> None:
        """Write the sources and the profile; ``extra`` lines go into the first part."""
        path = self.place / "three.tar"
        with tarfile.open(path, "w") as archive:
            for name, text in FILES.items():
                info = tarfile.TarInfo(f"three-1/{name}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        common = f"recipe = allotment.recipes:cmmi\nurl = {path}\nsha256sum = {digest}\nconfigure-command = true\n"
        common += "make-options = PREFIX=@@LOCATION@@\n"
        second = "environment =\n  FIRST = ${first:location}\n"
        profile = f"[buildout]\nparts = second\n[first]\n{common}{extra}\n[second]\n{common}{second}"
        (self.place / "profiles").mkdir(exist_ok=True)  # the other files are no inputs of what is built
        (self.place / "profiles/software.cfg").write_text(profile)

    def start(self, folder: str, store: str = "store") -> "subprocess.Popen[str]":
        command = [*self.inside, sys.executable, "-c", BUILD, self.place, self.place / folder, self.place / store]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def build(self, folder: str, store: str = "store") -> str:
        """Build to the end; return the error."""
        with self.start(folder, store) as process:
            output, _ = process.communicate(timeout=120)
        return output.strip()

    def root(self, store: str = "store") -> Path:
        return padded_root(self.place / store)

    def log(self, folder: str) -> str:
        path = self.place / folder / "build.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def yard(short_path: Path) -> Yard:
    found = Yard(short_path)
    found.write()
    return found


def wait(until: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leftovers(root: Path) -> list[Path]:
    return [*root.glob(".*.new"), *(path for path in root.iterdir() if path.is_symlink())]


def kill_all(process: "subprocess.Popen[str]") -> None:
    """Kill the builder, its zygote, the run and its children at once; what these have started is left alive."""
    zygotes = psutil.Process(process.pid).children()
    runs = [run for zygote in zygotes for run in zygote.children()]
    parts = [part for run in runs for part in run.children()]
    victims = [psutil.Process(process.pid), *zygotes, *runs, *parts]
    for victim in victims:
        victim.suspend()
    for victim in reversed(victims):  # a group that loses its last parent while one of it is stopped gets a SIGHUP
        victim.kill()
    process.wait(60)


# As on a machine that grants no namespaces: the steps of a build may write anywhere, and what they start stays.
BARE = ("unshare", "--user", "--map-root-user", "sh", "-c")
UNCONFINED = (*BARE, 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh")


@pytest.fixture
def unconfined(yard: Yard) -> Yard:
    if subprocess.run([*UNCONFINED, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs a user namespace")
    return replace(yard, inside=UNCONFINED)


HOLD = "\npre-build = echo x >> {place}/built; touch {place}/started; while [ ! -e {place}/go ]; do sleep 0.02; done"


def test_of_two_builders_one_builds_and_one_waits_and_says_for_what(unconfined: Yard) -> None:
    yard = unconfined
    yard.write(HOLD.format(place=yard.place))
    with yard.start("one") as one:
        wait((yard.place / "started").exists)
        with yard.start("two") as two:
            wait(lambda: "waiting for" in yard.log("two"))
            (yard.place / "go").touch()
            assert [process.communicate(timeout=120)[0] for process in (one, two)] == ["\n", "\n"]
    (part,) = yard.root().glob("first-*")
    line = next(line for line in yard.log("two").splitlines() if "waiting for" in line)
    assert line.startswith(f"first: waiting for {part.name}, which is being built by process ")
    assert line.endswith(f" for first of {yard.place / 'one'}")
    assert (yard.place / "built").read_text() == "x\n", "it was built once"


def test_nobody_builds_over_what_a_killed_run_has_left_running(unconfined: Yard) -> None:
    yard = unconfined
    yard.write(HOLD.format(place=yard.place))
    with yard.start("one") as one:
        wait((yard.place / "started").exists)
        kill_all(one)
    with yard.start("two") as two:
        wait(lambda: "waiting for" in yard.log("two"))
        assert (yard.place / "built").read_text() == "x\n"
        (yard.place / "go").touch()
        assert two.communicate(timeout=120)[0] == "\n"
    assert (yard.place / "built").read_text() == "x\nx\n"
    assert leftovers(yard.root()) == []


def test_who_waits_for_a_program_that_outlived_its_build_is_told_so(unconfined: Yard) -> None:
    yard = unconfined
    leave = f"setsid sh -c 'touch {yard.place}/left; while [ ! -e {yard.place}/go ]; do sleep 0.02; done' &"
    is_left = f"while [ ! -e {yard.place}/left ]; do sleep 0.02; done"  # before, it is ended with the build
    yard.write(f"\nhost-tools = setsid\npre-build = test -e {yard.place}/second || {{ {leave} {is_left}; exit 3; }}")
    assert "pre-build failed with exit code 3" in yard.build("one")
    (yard.place / "second").touch()
    with yard.start("two") as two:
        wait(lambda: "waiting for" in yard.log("two"))
        (yard.place / "go").touch()
        assert two.communicate(timeout=120)[0] == "\n"
    (part,) = yard.root().glob("first-*")
    assert re.search(
        rf"first: waiting for {part.name}: process \d+ for first of {yard.place}/one has ended, but a program that it "
        rf"started still runs: see 'fuser {part.parent}/\.lock/{part.name}'\n",
        yard.log("two"),
    )


def test_the_next_build_removes_what_a_killed_one_left_of_another_part(yard: Yard) -> None:
    root = yard.root()
    (root / ".lock").mkdir(parents=True)
    half = root / ".gone-1-abc.new/lib"
    half.mkdir(parents=True)
    half.chmod(0o555)
    (root / "gone-1-abc").symlink_to(".gone-1-abc.new")
    (root / ".work/gone-1-abc/source").mkdir(parents=True)
    assert yard.build("one") == ""
    assert leftovers(root) == []
    assert list((root / ".work").iterdir()) == []


def test_a_sweep_leaves_alone_what_is_being_built(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.building(tmp_path / "a-1-x", "a test", print) as place:
        assert place is not None
        Store(tmp_path).sweep()
        (tmp_path / "a-1-x/file").write_text("through its final name\n")
    assert (tmp_path / "a-1-x/file").read_text() == "through its final name\n"
    assert not (tmp_path / "a-1-x").is_symlink()


def test_a_sweep_removes_half_written_notes_and_minds_no_half_written_note_of_the_root(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in (".built", ".sums", ".it-1.new", ".lock"):
        (tmp_path / name).mkdir()
    for name in (".built/.it-1.json.ab.new", ".sums/.it-1.json.cd.new", ".sums/.it-12.json.ef.new", "..root.ab.new"):
        (tmp_path / name).write_text("half")
    store.sweep()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.new"))
    assert left == ["..root.ab.new", ".sums/.it-12.json.ef.new"]


def test_a_failure_inside_leaves_only_the_work_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(AllotmentError, match="no"), store.building(tmp_path / "a-1-x", "a test", print) as place:
        assert place is not None
        (place.work / "source").mkdir()
        raise AllotmentError("no")
    assert not (tmp_path / "a-1-x").exists()
    assert leftovers(tmp_path) == []
    assert (store.work(tmp_path / "a-1-x") / "source").is_dir()


def test_the_work_folder_is_gone_before_the_part_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, the part would be there and nobody would look for the folder any more."""

    def killed(*_: object) -> None:
        assert not any((tmp_path / ".work").iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt), Store(tmp_path).building(tmp_path / "a-1-x", "a test", print):
        pass
    assert leftovers(tmp_path) == []


def test_a_link_that_vanishes_is_no_whole_part(tmp_path: Path) -> None:
    class Vanishing(type(Path())):  # type: ignore[misc]
        """A path that is removed as soon as it was looked at, as by a build that fails."""

        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            try:
                return os.stat(self, follow_symlinks=follow_symlinks)  # noqa: PTH116
            finally:
                os.unlink(self)  # noqa: PTH108

    (tmp_path / ".a-1-x.new").mkdir()
    (tmp_path / "a-1-x").symlink_to(".a-1-x.new")
    assert not Store(tmp_path).holds(Vanishing(tmp_path / "a-1-x"))


def test_threads_of_one_process_build_a_part_once(tmp_path: Path) -> None:
    built = []

    def build() -> None:
        with Store(tmp_path).building(tmp_path / "a-1-x", "a test", lambda line: None) as place:
            if place is not None:
                built.append(place)

    threads = [threading.Thread(target=build) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(built) == 1


def test_sealing_keeps_programs_and_links(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "bin").mkdir()
    (part / "bin/run").write_text("")
    (part / "bin/run").chmod(0o4755)
    (part / "bin/secret").write_text("")
    (part / "bin/secret").chmod(0o600)
    (part / "bin/link").symlink_to("nowhere")
    (part / "bin/own").write_text("")
    (part / "bin/own").chmod(0o700)
    seal(part)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (part / "bin").iterdir()}
    assert (modes["run"], modes["own"], modes["secret"]) == (0o555, 0o555, 0o444)
    assert stat.S_IMODE((part / "bin").stat().st_mode) == 0o555
    remove(part)
    assert not part.exists()


@pytest.fixture
def small_disk(short_path: Path, make_small_disk: Callable[[Path, str], Any]) -> Any:
    return make_small_disk(short_path / "disk", "2m")


def test_a_full_disk_is_a_clear_error_and_the_next_build_goes_on(yard: Yard, small_disk: Any) -> None:
    yard = replace(yard, inside=small_disk.inside)
    root = small_disk.outside / padded_root(small_disk.place / "s").relative_to(small_disk.place)
    yard.write("\npost-install = head -c 100000000 /dev/zero > @@LOCATION@@/zeros || exit 3")
    error = yard.build("one", "disk/s")
    assert "[first] post-install failed with exit code 3" in error
    assert "No space left on device" in error
    assert leftovers(root) == []
    yard.write()
    small_disk.fill()
    error = yard.build("two", "disk/s")
    assert re.search(r"nothing can be built: .*: No space left on device\. Mend that and build again: what", error)
    assert leftovers(root) == []
    small_disk.relieve()
    assert yard.build("one", "disk/s") == ""


def test_a_full_disk_is_a_clear_error_of_the_command_too(
    yard: Yard, small_disk: Any, write_tiny: Callable[[Path], Path]
) -> None:
    profile = write_tiny(yard.place / "tree")
    words = [profile, "--folder", yard.place / "one", "--sources", small_disk.place / "sources"]
    command = [*small_disk.inside, sys.executable, "-m", "allotment", "build", *words]
    small_disk.fill()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {small_disk.place / 'sources'}: No space left on device. "
        "Mend that and build again: what is whole is kept."
    )
    small_disk.relieve()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_signal_that_ends_a_step_is_named(yard: Yard) -> None:
    yard.write("\npre-build = kill -9 $$")
    assert f"[first] pre-build was killed by signal {signal.SIGKILL:d}: kill -9 $$\n" in yard.build("one")
