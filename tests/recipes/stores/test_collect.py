# SPDX-License-Identifier: Apache-2.0
"""What a collection takes and leaves, also when it is killed or somebody is at work."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.shared_store import Store
from allotment_recipes.stores import roots
from allotment_recipes.stores.collect import collect
from allotment_recipes.stores.contents import FOLDER
from allotment_recipes.stores.keeping import Graph

COLLECT = """\
import os, signal, sys
from pathlib import Path
from allotment_recipes.stores.collect import collect
root, moment = sys.argv[1:]
rename, names = os.rename, []

def kill_at(line):
    if line.startswith(f"{moment} of"):
        os.kill(os.getpid(), signal.SIGKILL)

def rename_and_say(source, target):
    rename(source, target)
    names.append(source)
    kill_at(f"renamed {len(names)} of all")

os.rename = rename_and_say
collect(Path(root), say=kill_at)
"""


def put_part(root: Path, name: str) -> None:
    """Put a part there without the care that a build takes: many of them take no time."""
    (root / name / "bin").mkdir(parents=True)
    (root / name / "bin/run").write_text("")
    (root / ".built" / f"{name}.json").write_text('{"references": [], "digest": "x"}')
    (root / FOLDER / f"{name}.json").write_text("{}")


def test_what_no_root_reaches_goes_with_all_that_was_noted_of_it(yard: Any) -> None:
    lib = yard.part("lib")
    app = yard.part("app", lib)
    old = yard.part("old", lib)
    yard.release("one", app)
    Store(yard.root).log(old).write_text("built\n")
    (yard.root / ".work" / old.name / "source").mkdir(parents=True)
    found = collect(yard.root)
    assert [name for name, _ in found.parts] == [old.name]
    assert found.kept == 2
    assert found.freed >= 3 * 4096
    assert yard.names == ["app", "lib"]
    assert sorted(path.name for path in yard.root.rglob(f"*{old.name}*")) == [old.name], "but its lock"


def test_a_dry_run_tells_the_same_and_removes_nothing(yard: Any) -> None:
    yard.part("old")
    yard.release("one", yard.part("app"))
    would = collect(yard.root, dry_run=True)
    assert yard.names == ["app", "old"]
    assert collect(yard.root) == would
    assert collect(yard.root).parts == ()


def test_a_release_whose_folder_is_gone_keeps_nothing(yard: Any) -> None:
    app = yard.part("app")
    shutil.rmtree(yard.release("one", app))
    assert [name for name, _ in collect(yard.root).parts] == [app.name]
    assert list((yard.root / roots.FOLDER).iterdir()) == []


def test_a_release_that_was_moved_and_has_a_link_in_its_place_keeps_its_parts(yard: Any) -> None:
    folder = yard.release("one", yard.part("app"))
    folder.rename(yard.place / "larger disk")
    folder.symlink_to(yard.place / "larger disk")
    assert collect(yard.root).parts == ()
    (yard.place / "larger disk").rename(yard.place / "away")
    assert collect(yard.root).parts == (), "where the link leads is perhaps not mounted"
    folder.unlink()
    assert [name.partition("-")[0] for name, _ in collect(yard.root).parts] == ["app"]


def test_a_release_on_a_disk_that_is_not_mounted_keeps_its_parts(yard: Any) -> None:
    yard.part("app")
    disk = yard.place / "disk"
    disk.mkdir()
    code = f"""\
from pathlib import Path
from allotment_recipes.stores import roots
folder = Path({str(disk)!r}, "release")
folder.mkdir()
roots.enter(Path({str(yard.root)!r}), folder, [{f"app-1-{b'app'.hex():0>32}"!r}], adds=True)
"""
    script = 'mount -t tmpfs none "$1" && exec "$2" -c "$3"'
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", disk, sys.executable, code],
        check=True,
    )
    assert not (disk / "release").exists()
    assert collect(yard.root).parts == ()
    disk.rmdir()
    assert collect(yard.root).parts == (), "some remove the place too when a disk is taken out"


def test_what_was_built_anew_since_references_were_read_is_seen(yard: Any) -> None:
    lib = yard.part("lib")
    app = yard.part("app", lib)
    lib.rename(yard.root / f".{lib.name}.gone")
    graph = Graph([yard.root])
    graph.read_all()
    assert yard.part("lib") == lib
    graph.look_again()
    assert set(graph.closure([app])) == {app, lib}


@pytest.mark.root
def test_a_collection_by_root_does_not_lock_the_owner_out(yard: Any) -> None:
    yard.release("one", yard.part("app"))
    old = yard.part("old")
    (yard.root / ".lock" / old.name).unlink()
    for path in (yard.place / "store", *(yard.place / "store").rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    assert [name for name, _ in collect(yard.root).parts] == [old.name]
    locks = {path.name: path.stat().st_uid for path in (yard.root / ".lock").iterdir()}
    assert set(locks.values()) == {65534}
    assert {old.name, ".collection"} <= locks.keys()


def test_references_that_are_declared_count_and_those_in_the_bytes_too(yard: Any) -> None:
    source, lib = yard.part("source"), yard.part("lib")
    yard.release("one", yard.part("app", lib, declared=[source.name]))
    collect(yard.root)
    assert yard.names == ["app", "lib", "source"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_without_a_note_the_bytes_tell_what_a_part_needs(yard: Any, damage: Any) -> None:
    lib = yard.part("lib")
    app = yard.part("app", lib)
    yard.part("old")
    damage(yard.root / ".built" / f"{app.name}.json")
    yard.release("one", app)
    collect(yard.root)
    assert yard.names == ["app", "lib"]


def before_registrations(root: Path, *parts: Path) -> None:
    """Make parts look as those of a version that registered no release, and recorded no file."""
    for part in parts:
        note = root / ".built" / f"{part.name}.json"
        fields = json.loads(note.read_bytes())
        note.write_text(json.dumps({key: value for key, value in fields.items() if key not in ("digest", "outside")}))
        (root / FOLDER / f"{part.name}.json").unlink()


def test_parts_of_releases_that_nobody_could_register_are_kept_with_what_they_need(yard: Any) -> None:
    lib, used = yard.part("lib"), yard.part("used")
    older = yard.part("older", lib)
    before_registrations(yard.root, lib, older, used)
    yard.release("new", yard.part("app", used))
    rest = yard.part("rest")
    would = collect(yard.root, dry_run=True)
    found = collect(yard.root)
    assert found == would
    assert [name for name, _ in found.parts] == [rest.name]
    assert found.unknown == (lib.name, older.name), "but what a registered release needs is no riddle"
    assert yard.names == ["app", "lib", "older", "used"]
    yard.release("older", older)
    assert collect(yard.root, unregistered=True).parts == (), "it was built once more"
    shutil.rmtree(yard.place / "releases/older")
    assert {name for name, _ in collect(yard.root, unregistered=True).parts} == {lib.name, older.name}


def test_the_commands_tell_of_parts_that_nobody_could_register(yard: Any) -> None:
    older = yard.part("older")
    before_registrations(yard.root, older)
    yard.release("new", yard.part("app"))
    command = [sys.executable, "-m", "allotment", "store", "gc", "--store", yard.place / "store"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[0].startswith("0 parts removed, 2 kept; ")
    assert shown.splitlines()[1].startswith("1 of those kept were built before releases were registered, ")
    document = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert document["unregistered"] == [older.name]
    why = [sys.executable, "-m", "allotment", "store", "why", "older", "--store", yard.place / "store"]
    told = subprocess.run(why, capture_output=True, text=True, check=True).stdout
    assert "only 'allot store gc --unregistered' removes it" in told
    subprocess.run([*command, "--unregistered"], capture_output=True, check=True)
    assert yard.names == ["app"]


def test_a_program_at_work_keeps_its_part_and_what_that_needs(yard: Any) -> None:
    yard.release("one", yard.part("other"))
    lib = yard.part("lib")
    location = yard.root / f"app-1-{'a' * 32}"
    with Store(yard.root).building(location, "a test", print):
        shutil.copy(shutil.which("sleep") or "", location / "sleep")
        (location / "needs").write_text(str(lib))
        Store(yard.root).note(location, {"part": "app", "version": "1", "seconds": 0.1, "bytes": 10, "references": []})
    with subprocess.Popen([location / "sleep", "60"]) as process:
        collect(yard.root)
        assert yard.names == ["app", "lib", "other"]
        process.kill()
    collect(yard.root)
    assert yard.names == ["other"]


def test_a_program_that_a_script_of_a_part_runs_keeps_the_part(yard: Any) -> None:
    yard.release("one", yard.part("other"))
    app = yard.part("app")
    environment = {**os.environ, "HELPERS": f"/x:{app}/bin"}
    with subprocess.Popen(["/bin/sleep", "60"], env=environment) as process:
        collect(yard.root)
        process.kill()
    assert yard.names == ["app", "other"]


def test_a_part_that_somebody_holds_is_left_alone(yard: Any) -> None:
    yard.release("one")
    old = yard.part("old")
    with (yard.root / ".lock" / old.name).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert collect(yard.root).busy == (old.name,)
    assert yard.names == ["old"]


def test_what_was_asked_for_lately_stays_with_older_than(yard: Any) -> None:
    yard.release("one")
    lib = yard.part("lib")
    new, old = yard.part("new", lib), yard.part("old")
    for part in (lib, old):
        os.utime(yard.root / ".built" / f"{part.name}.json", (1, time.time() - 1000))
    collect(yard.root, older_than=900)
    assert yard.names == ["lib", "new"], "with what it needs"
    roots.enter(yard.root, yard.place, [new.name], adds=False)
    assert time.time() - (yard.root / ".built" / f"{new.name}.json").stat().st_mtime < 60


def test_sources_of_a_failed_build_go_with_its_release(yard: Any) -> None:
    location = yard.root / f"bad-1-{'b' * 32}"
    folder = yard.release("one", location)
    with pytest.raises(AllotmentError), Store(yard.root).building(location, "a test", print) as place:
        assert place is not None
        (place.work / "source").write_bytes(bytes(100_000))
        raise AllotmentError("no")
    assert collect(yard.root).leftovers == 0
    assert (yard.root / ".work" / location.name / "source").exists()
    shutil.rmtree(folder)
    assert collect(yard.root).leftovers >= 100_000
    assert not (yard.root / ".work" / location.name).exists()


def test_a_store_in_which_nothing_is_registered_is_not_collected(yard: Any) -> None:
    yard.part("app")
    with pytest.raises(AllotmentError, match="no release is registered in the store"):
        collect(yard.root)
    assert yard.names == ["app"]


def test_a_damaged_registration_keeps_everything_and_is_named(yard: Any) -> None:
    yard.release("one", yard.part("app"))
    (file,) = (yard.root / roots.FOLDER).iterdir()
    file.write_text('{"format": 1')
    with pytest.raises(MachineError) as raised:
        collect(yard.root)
    assert str(raised.value).startswith(f"{file} is damaged, and nobody knows what it keeps: ")
    assert str(raised.value).endswith("Remove it, and build its release once more.")
    assert yard.names == ["app"]


def test_two_collections_at_once_are_refused(yard: Any) -> None:
    yard.release("one", yard.part("app"))
    with (yard.root / ".lock/.collection").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match="another collection is at work"):
            collect(yard.root)


@pytest.mark.parametrize("moment", ["renamed 1", "renamed 100", "removed 1", "removed 50"])
def test_a_killed_collection_leaves_no_half_part_and_the_next_one_finishes_it(yard: Any, moment: str) -> None:
    """Killed while it takes the names, or when that many parts have been removed."""
    kept = yard.part("kept")
    yard.release("one", kept)
    for number in range(300):
        put_part(yard.root, f"x{number}-1-{0:0>32}")
    done = subprocess.run([sys.executable, "-c", COLLECT, yard.root, moment], check=False)
    assert done.returncode == -signal.SIGKILL
    left = list(yard.root.glob(".*.gone"))
    assert len(left) == {"renamed 1": 1, "renamed 100": 100, "removed 1": 299, "removed 50": 250}[moment]
    assert all((part / "bin/run").is_file() for part in yard.root.glob("[!.]*")), "what has its name is whole"
    found = collect(yard.root)
    assert found.leftovers > 0
    assert yard.names == ["kept"]
    assert list(yard.root.glob(".*.gone")) == []
    for folder in (".built", FOLDER):
        assert [path.stem for path in (yard.root / folder).iterdir()] == [kept.name]


def test_a_read_only_store_is_a_clear_error(yard: Any) -> None:
    """As in a file system that is mounted so; also for root."""
    yard.release("one", yard.part("app"))
    yard.part("old")
    script = f"mount --bind -o ro {yard.place} {yard.place} 2>/dev/null; mount -o remount,ro,bind {yard.place}; "
    script += f"exec {sys.executable} -m allotment store gc --store {yard.place}/store"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: nothing can be removed from the store {yard.place}/store: " in done.stderr
    assert "Read-only file system. Do this as the user who owns the store, where it can be written to." in done.stderr
    assert yard.names == ["app", "old"]


def test_the_command_tells_what_it_freed(yard: Any) -> None:
    yard.release("one", yard.part("app"))
    old = yard.part("old")
    command = [sys.executable, "-m", "allotment", "store", "gc", "--store", yard.place / "store"]
    shown = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1].startswith("1 part would be removed, 1 kept; ")
    document = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [part["name"] for part in document["parts"]] == [old.name]
    assert document["freed"] == document["parts"][0]["bytes"] > 0
    assert yard.names == ["app"]


def test_what_a_killed_build_left_half_written_of_its_registration_goes_with_the_next(yard: Any) -> None:
    folder = yard.release("one", yard.part("app"))
    (file,) = (yard.root / roots.FOLDER).iterdir()
    (yard.root / roots.FOLDER / f".{file.name}.0123abcd.new").write_text("{")
    roots.enter(yard.root, folder, [], adds=True)
    assert list((yard.root / roots.FOLDER).iterdir()) == [file]
