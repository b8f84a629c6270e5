# SPDX-License-Identifier: Apache-2.0
"""What a part's steps may use: declared programs, no network; and what is said where no kernel helps."""

import http.server
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.hermetic.host_tools import HOST_TOOLS, find
from allotment_recipes.hermetic.sandbox import refusal

BOUNDED = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]
MAKE = "\nconfigure-command = true\nmake-options = PREFIX=@@LOCATION@@"
confined = pytest.mark.skipif(bool(refusal()), reason=f"this kernel confines nothing: {refusal()}")


def makefile(command: str) -> dict[str, str]:
    return {"Makefile": f"all:\n\t{command}\ninstall:\n\tmkdir $(PREFIX)/bin\n\techo a > $(PREFIX)/bin/a\n"}


class Web(http.server.ThreadingHTTPServer):
    """A web server that counts who comes."""

    asked = 0

    def verify_request(self, *_: object) -> bool:
        self.asked += 1
        return True


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@confined
def test_a_step_that_fetches_something_fails(yard: Any, web: Web) -> None:
    fetch = f'python3 -c "import urllib.request as r; r.urlopen(\\"http://127.0.0.1:{web.server_port}/\\")"'
    lines = yard.archive("fetch", makefile(fetch)) + MAKE + "\nhost-tools = python3"
    assert "Connection refused" in yard.build({"fetch": lines}).error
    outside = fetch.replace(f"127.0.0.1:{web.server_port}", "192.0.2.1")
    lines = yard.archive("fetch", makefile(outside)) + MAKE + "\nhost-tools = python3"
    assert "Network is unreachable" in yard.build({"fetch": lines}).error
    assert web.asked == 0


@pytest.mark.parametrize(
    "command", ["perl -e 1", "/usr/bin/perl -e 1", "sh -c perl", "env perl -e 1", "sh -c 'exec perl'"]
)
def test_a_program_that_is_not_declared_is_not_found_and_the_error_says_what_to_write(yard: Any, command: str) -> None:
    if refusal() and "/" in command:
        pytest.skip("without a sandbox a program is found by its path")
    lines = yard.archive("use", makefile(command)) + MAKE
    error = yard.build({"use": lines}).error
    assert error.startswith("[use] make failed with exit code 2: make")
    assert error.endswith("This machine has perl, but the section must say so: host-tools = perl.")
    assert yard.build({"use": f"{lines}\nhost-tools = perl"}).error == ""


def test_the_list_has_what_configure_and_make_need_and_no_language() -> None:
    assert {"gcc", "ld", "make", "sh", "sed", "grep", "awk", "find", "diff", "tar", "xz", "patch", "sort"} <= HOST_TOOLS
    assert not {"perl", "python3", "cmake", "git", "curl", "m4", "bison", "tclsh", "ruby"} & HOST_TOOLS
    missing = {name for name in HOST_TOOLS if find(name) is None}
    assert not {"gcc", "ld", "make", "sh", "sed", "grep", "awk", "find", "diff", "tar"} & missing


def test_compilers_don_t_write_the_build_folder_down(yard: Any) -> None:
    """Neither into what -g makes nor by __FILE__, though the profile has flags of its own; nor is the flag seen."""
    source = {
        "where.c": '#include <stdio.h>\nint main(void) { puts(__FILE__ " " FLAGS); return 0; }\n',
        "Makefile": "all:\n\t$(CC) -g -O0 -DFLAGS='\"$(CFLAGS)\"' $(CFLAGS) -o where $(CURDIR)/where.c\n"
        "install:\n\tmkdir $(PREFIX)/bin\n\tcp where $(PREFIX)/bin\n",
    }
    assert yard.build({"where": yard.archive("where", source) + MAKE}).error == ""
    program = yard.part("where") / "bin/where"
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout == "/build/source/where.c -O2\n"
    assert b".work" not in program.read_bytes()


@confined
def test_shell_has_the_sandbox_of_the_build(yard: Any) -> None:
    yard.build({"use": yard.archive("use", makefile("false")) + MAKE})
    script = "echo $HOME; pwd; perl -e 1; ls /home; cat /proc/net/dev; touch /etc/new; touch new; exit 7\n"
    command = [sys.executable, "-m", "allotment", "build", "--shell", "use", "--folder", yard.place / "built"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    home, folder, *rest = done.stdout.splitlines()
    assert (Path(home).parent, Path(home).name) == (Path(folder).parent, "home")
    assert [line.split(":")[0].strip() for line in rest[2:]] == ["lo"]
    for told in ("perl: not found", "cannot access '/home'", "'/etc/new': Read-only file system"):
        assert told in done.stderr
    assert done.returncode == 7


@confined
def test_an_interrupt_ends_what_runs_in_the_shell_and_not_the_shell(yard: Any) -> None:
    yard.build({"use": yard.archive("use", makefile("false")) + MAKE})
    command = [sys.executable, "-m", "allotment", "build", "--shell", "use", "--folder", str(yard.place / "built")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)

    def until(text: bytes) -> bytes:
        seen = b""
        deadline = time.monotonic() + 30
        while text not in seen and time.monotonic() < deadline and select.select([terminal], [], [], 30)[0]:
            seen += os.read(terminal, 1024)
        return seen

    try:
        assert b"use> " in until(b"use> ")
        os.write(terminal, b"sh -c 'echo asl''eep; exec sleep 100'; echo wo''ken\n")
        assert b"asleep\r\n" in until(b"asleep\r\n")
        os.write(terminal, b"\x03")
        seen = until(b"use> ")
        assert b"use> " in seen and b"woken" not in seen
        os.write(terminal, b"echo still he''re\n")
        assert b"still here" in until(b"still here\r\n")
        os.write(terminal, b"exit 3\n")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 3


def test_where_the_kernel_refuses_the_build_says_so_once_and_goes_on(yard: Any) -> None:
    """The limit of namespaces is one of the ways to refuse; each part is a process of its own."""
    yard.write({name: yard.archive(name, makefile("true")) + MAKE for name in ("one", "two", "three")})
    folder, log = yard.place / "built", yard.place / "built/build.log"
    code = f"""
from pathlib import Path, PosixPath
from allotment_recipes.engine import BuildEngine, BuildRequest
with BuildEngine() as engine:
    assert engine.build({yard.request()!r}, {log!r}).error == ""
"""
    subprocess.run([*BOUNDED, sys.executable, "-c", code], timeout=100, check=True)
    warning = "this build could reach the network and see undeclared folders: the kernel refuses to confine a build: "
    assert log.read_text().count(warning) == 1
    events = [json.loads(line) for line in (folder / ".build-events.jsonl").read_text().splitlines()]
    (told,) = [event for event in events if event["event"] == "unconfined"]
    assert told["why"].startswith("the kernel refuses to confine a build: unshare: ")
    assert sum(event["event"] == "built" for event in events) == 3
    logs = list(yard.store.glob(".log/*"))
    assert len(logs) == 3
    assert all(path.read_text().startswith(warning) for path in logs)


def test_without_a_sandbox_undeclared_programs_are_not_found_either(yard: Any) -> None:
    code = f"""
import sys
from pathlib import Path
from allotment_recipes.build_environment import build_environment
from allotment_recipes.hermetic.surroundings import surround
root = Path({str(yard.place)!r})
around = surround(root, ["perl"], [root], [root])
assert around.sandbox is None and around.refusal
environment = build_environment(root, [], root, {{}}, around.path)
with open(root / "log", "wb") as log:
    script = "gcc --version; perl -e 'print 1'; python3 -V; echo $PATH"
    around.run(["/bin/sh", "-c", script], root, environment, log.fileno())
"""
    subprocess.run([*BOUNDED, sys.executable, "-c", code], check=True, timeout=60)
    log = (yard.place / "log").read_text()
    assert re.search(r"^gcc.*\n(.*\n)*1/bin/sh: 1: python3: not found\n/.*/\.tools/\w+$", log.strip())
