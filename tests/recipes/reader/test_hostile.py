# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Profiles made to do harm: each ends in an error that says what is wrong, soon and in little memory.

Each is read in a process of its own that gets no more memory and no more of the processor than an honest build does.
"""

import json
import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import zc.buildout

from allotment.errors import AllotmentError
from allotment_recipes.reader.annotate import annotate
from allotment_recipes.runs import profile
from allotment_recipes.runs.kinds import run

MEMORY = 1 << 30  # bytes beyond what is mapped at the beginning
SECONDS = 30  # of the processor; honest ones take less than one
TEMPLATE = "[one]\nrecipe = allotment.recipes:template.jinja2\noutput = ${buildout:directory}/one\n"


def limited(work: Callable[[], str]) -> str:
    """Return what ``work`` returns in a child process within the limits."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(4 * SECONDS)
            try:
                text = work()
            except (AllotmentError, zc.buildout.UserError) as error:
                text = f"error: {error}"
            except BaseException:
                text = traceback.format_exc()[-2000:]
            os.write(writing, text.encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        text = file.read().decode()
    assert os.waitpid(pid, 0)[1] == 0, "it ran into a limit"
    return text


def build(folder: Path) -> str:
    """Build the release of a folder as the zygote does; return its error, or ``done``."""
    request = {"folder": folder / "out", "closure": folder, "profile": "software.cfg", "sources": folder / "blobs"}
    answer = run("build", {**request, "development": False, "jobs": 1})
    return f"error: {answer['error']}" if "error" in answer else "done"


def look(folder: Path) -> str:
    """Tell where the values of a profile come from."""
    return f"done {len(annotate(folder / 'software.cfg', folder / 'blobs'))}"


def read(folder: Path) -> str:
    """Read it as whoever collects a release's files does."""
    request = {"folder": folder / "out", "profile": folder / "software.cfg", "sources": folder / "blobs"}
    (folder / "out").mkdir(exist_ok=True)
    return f"done {len(json.dumps(profile.read(request)))}"


def many(folder: Path) -> str:
    """A chain of profiles; return the first."""
    for number in range(3_000):
        (folder / f"{number}.cfg").write_text(f"[buildout]\nextends = {number + 1}.cfg\n")
    return "[buildout]\nextends = 0.cfg\n"


def circle(folder: Path) -> str:
    (folder / "a.cfg").write_text("[buildout]\nextends = ./x/../software.cfg\n")
    return "[buildout]\nextends = a.cfg\n"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.cfg")
    return "[buildout]\nextends = pipe.cfg\n"


def laughs(names: str, first: str) -> str:
    """Each option refers twice to the one before it."""
    lines = [f"x0 = {first}", *(f"x{n} = ${{{names}:x{n - 1}}}${{{names}:x{n - 1}}}" for n in range(1, 60))]
    return "[a]\n" + "\n".join(lines) + "\n"


HOSTILE: list[tuple[str, str | Callable[[Path], str], str]] = [
    ("profiles one above another", many, "more than 200 profiles one above another"),
    ("a profile that extends itself", "[buildout]\nextends = software.cfg\n", "software.cfg extends itself: "),
    ("a circle of profiles", circle, "software.cfg extends itself: "),
    ("a device", "[buildout]\nextends = /dev/zero\n", "/dev/zero can't be read: it is outside"),
    ("a pipe", pipe, "pipe.cfg can't be read: it is no regular file"),
    ("a folder", "[buildout]\nextends = .\n", "can't be read: "),
    ("a path of references", "[buildout]\nextends = ${a:x59}\n" + laughs("a", ""), "too many references"),
    ("a path to itself", "[buildout]\nextends = ${buildout:x}\nx = ${buildout:x}\n", "${buildout:x} refers to itself"),
    ("a path from nowhere", "[buildout]\nextends = ${a:b}\n", "${a:b} is in no profile that was read so far"),
    ("a wrong checksum", "[buildout]\nextends = software.cfg.in#sha256=00\n", "does not exist"),
    ("a large profile", f"[a]\nb = {'x' * (17 << 20)}\n", "there are more than 16 MB to read"),
    ("NUL", "[a]\nb = 1\nc = \0\n", "software.cfg is not a profile: line 3: it has a NUL character"),
    ("a name that commands terminals", "[a]\nb\x1b[2J = 1\n", "line 2: "),
    ("a section that commands terminals", "[a\x1b]\nb = 1\n", r"line 1: the name 'a\x1b' has a control character"),
    ("a section named by a reference", "[a${b}]\nc = d\n", "line 1: '[a${b}]' "),
    ("spaces in a condition", f"[a]\n[b:{' ' * 1_000_000}\n", "line 2: what begins with '[' has 1000004 characters"),
    ("an option without a name", "[a]\nb = 1\n+= x\n", "line 3: '+= x' has no option's name"),
    ("only signs for a name", "[a]\nb = 1\n-+-= x\n", "line 3: '-+-= x' has no option's name"),
    ("code in a condition", "[a]\n[b:open('/tmp/hostile', 'w')]\n", "line 2: the condition 'open('/tmp/hostile', 'w')' calls"),
    ("a number in a condition", "[a]\n[b:9**9**9**9]\n", "line 2: the condition '9**9**9**9' reckons"),
    ("a condition that takes for ever", "[a]\n[b:re.match('(a+)+$', 'a' + sys.version)]\n", "could take too long"),
    ("many ways in a condition", f"[a]\n[b:re.match('(a|aa)*b', '{'a' * 60}')]\n", "could take too long"),
    ("many ways behind a space", f"[a]\n[b:re.match('(?x)(a|aa) *b', '{'a' * 60}')]\n", "could take too long"),
    ("many ways in a row", f"[a]\n[b:re.match('{'(a|aa)' * 20}b', '{'a' * 60}')]\n", "could take too long"),
    ("many choices in a condition", f"[a]\n[b:re.match('{'a?' * 30}{'a' * 30}', '{'a' * 30}')]\n", "could take too long"),
    ("repeats that are escaped", rf"[a]{chr(10)}[b:re.match('(\\\\)*(\\\\)*', 'x')]{chr(10)}", "could take too long"),
    ("repeats of the same", f"[a]\n[b:re.search('a*a*a*b', '{'a' * 150}')]\n", "could take too long"),
    ("a long text in a condition", f"[a]\n[b:re.search('a*a*b', '{'a' * 1_500}')]\n", "of more than 150 characters"),
    ("a device in a condition", "[a]\n[b:platform.libc_ver('/dev/zero')]\n", "gives platform.libc_ver arguments"),
    ("a program in a condition", "[a]\n[b:platform.architecture('/etc/passwd')]\n", "gives platform.architecture arguments"),
    ("a deep condition", f"[a]\n[b:{'(' * 1_500}1]\n", "is neither a marker nor an expression"),
    ("many signs in a condition", f"[a]\n[b:{'-' * 1_900}1]\n", ""),
    ("values that double", laughs("a", "x"), "it has more than 16 MB"),
    ("values that double in one line", f"[a]\nx = {'y' * 100_000}\nz = {'${a:x}' * 1_000_000}\n", "it has more than 16 MB"),
    ("many long values", f"[a]\nx = {'y' * (10 << 20)}\n" + "".join(f"z{n} = ${{a:x}}\n" for n in range(1_000)),
     "more than 256 MB"),
    ("references in a row", "[a]\nx0 = 1\n" + "".join(f"x{n} = ${{a:x{n - 1}}}\n" for n in range(1, 5_000)),
     "more than 200 references lead from one to the next"),
    ("sections in a row", "".join(f"[a{n}]\nb = ${{a{n + 1}:b}}\n" for n in range(5_000)) + "[a]\n<= a0\n",
     "by way of others"),
    ("references in a circle", "[a]\nb = ${c:d}\n[c]\nd = ${a:b}\n", "refers to what refers back to it: ${c:d} -> ${a:b} -> ${c:d}"),
    ("half references", f"[a]\nb = {'${' * 1_000_000}\n", ""),
    ("a reference that is none", f"[a]\nb = ${{{'x' * 1_000_000}}}\n", "is no reference to an option"),
    ("macros in a circle", "[a]\n<= b\n[b]\n<= a\n", "[a] extends itself: a -> b -> a"),
    ("macros in a row", "[a]\n<= m0\n" + "".join(f"[m{n}]\n<= m{n + 1}\n" for n in range(5_000)) + "[m5000]\nx = 1\n",
     "more than 200 sections extend one another"),
    ("macros that double", "[a]\n<= m59\n[m0]\nx = 1\n" + "".join(f"[m{n}]\n<= m{n - 1}\n  m{n - 1}\n" for n in range(1, 60)), ""),
    ("macros that add", f"[m0]\nx = {'y' * (9 << 20)}\n[a]\n<= m0\nx += ${{m0:x}}\n", "it has more than 16 MB"),
    ("many sections", "[a]\nb = 1\n" + "".join(f"[s{n}]\nx = ${{a:b}}\n" for n in range(30_000)), ""),
    ("none of many sections", "".join(f"[s{n}]\n" for n in range(30_000)), "refers to the section 'a'"),
    ("an option of 10 MB", f"[a]\nb = {'x' * (10 << 20)}\n", ""),
    ("an option of 300,000 lines", "[a]\nb =\n" + "  12345\n" * 300_000, ""),
    ("300,000 empty lines", "[a]\nb =\n  section\n" + "\n" * 300_000 + "  x\n", ""),
    ("a million spaces", f"[a]\nb = section{' ' * 1_000_000}x\n", ""),
    ("100,000 additions", "[a]\nb = 1\n" + "b += 2\n" * 100_000, ""),
]  # fmt: skip


@pytest.mark.parametrize("way", ["path", "link"])
def test_a_file_outside_the_release_is_not_read_and_not_told(way: str, tmp_path: Path) -> None:
    """Where builds of others run, a key or a token may be in it: neither an error nor a value may show it."""
    secret, place = tmp_path / "secret", tmp_path / "release"
    secret.write_text("of the machine\n")
    place.mkdir()
    (place / "link.cfg").symlink_to(secret)
    name = secret if way == "path" else "link.cfg"
    (place / "software.cfg").write_text(f"[buildout]\nextends = {name}\nparts = one\n{TEMPLATE}inline = x\n")
    built = limited(lambda: build(place))
    assert f"can't be read: it is outside {place}, which is all that the release is built from" in built
    assert "of the machine" not in built


@pytest.mark.parametrize(("profile", "error"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
@pytest.mark.xdist_group("heavy")
def test_a_hostile_profile_ends_in_a_clear_error(
    profile: str | Callable[[Path], str], error: str, tmp_path: Path
) -> None:
    text = profile(tmp_path) if callable(profile) else profile
    (tmp_path / "software.cfg").write_text(f"{text}[buildout]\nparts = one\n{TEMPLATE}inline = ${{a:b}}\n", newline="")
    built = limited(lambda: build(tmp_path))
    if error:
        assert built.startswith("error: ")
        assert error in built
    assert "Traceback" not in built
    assert "Error:" not in built, "it says what is wrong, not what Python calls that"
    assert len(built) < 3_000
    for work in (look, read):
        told = limited(lambda work=work: work(tmp_path))  # type: ignore[misc]
        assert told.startswith(("done", "error: ")), told
        assert len(told) < 3_000
    assert not Path("/tmp/hostile").exists()
