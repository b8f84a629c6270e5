# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (programs stand as they are run)
"""Components, built from source into a store of their own, and what was built is run.

By default those whose source can't move; ``ALLOTMENT_COMPONENTS=all``, or names, has others built as well.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import virtualenv

from allotment.blobs import BlobStore
from allotment_recipes import elf
from allotment_recipes.engine import BuildEngine, BuildRequest

ROOT = Path(__file__).parents[2]
STEADY = ("zlib", "pcre2", "nginx")
LINK = "gcc -o program program.c -I$LOCATION/include -L$LOCATION/lib -Wl,-rpath=$LOCATION/lib"
# What is run by a shell in an empty folder, with LOCATION set to where the component is; and a line of its output.
RUN = {
    "zlib": (f"""cat > program.c <<'END'
#include <stdio.h>
#include <string.h>
#include <zlib.h>
int main(void) {{
    unsigned char packed[99], plain[99];
    uLongf size = sizeof packed, back = sizeof plain;
    if (compress(packed, &size, (const unsigned char *)"aaaaaaaaaaaaaaaaaaaaaaaa", 25) != Z_OK) return 1;
    if (uncompress(plain, &back, packed, size) != Z_OK) return 2;
    return printf("%s %s\\n", zlibVersion(), plain) < 0;
}}
END
{LINK} -lz && ./program""", "1.3.1 aaaaaaaaaaaaaaaaaaaaaaaa"),
    "bzip2": ("echo twice | $LOCATION/bin/bzip2 | $LOCATION/bin/bunzip2", "twice"),
    "xz": ("echo twice | $LOCATION/bin/xz | $LOCATION/bin/unxz", "twice"),
    "libffi": (f"""cat > program.c <<'END'
#include <ffi.h>
#include <stdio.h>
int main(void) {{
    ffi_cif cif;
    ffi_type *types[] = {{&ffi_type_pointer}};
    const char *text = "called";
    void *values[] = {{&text}};
    ffi_arg result;
    if (ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 1, &ffi_type_sint, types) != FFI_OK) return 1;
    ffi_call(&cif, FFI_FN(puts), &result, values);
    return 0;
}}
END
{LINK} -lffi && ./program""", "called"),
    "expat": ("echo '<a><b></a>' > bad.xml; $LOCATION/bin/xmlwf bad.xml || true", "bad.xml:1:8: mismatched tag"),
    "pcre2": ("printf 'one\\nzwei\\n' | $LOCATION/bin/pcre2grep -u '^\\p{Lu}?zw(?=ei)'", "zwei"),
    "ncurses": ("$LOCATION/bin/tput -T xterm longname", "xterm terminal emulator (X Window System)"),
    "readline": (f"""cat > program.c <<'END'
#include <stdio.h>
#include <readline/readline.h>
int main(void) {{ return printf("read %s\\n", readline("")) < 0; }}
END
{LINK} -lreadline && echo this | TERM=dumb ./program""", "read this"),
    "lua": ("$LOCATION/bin/lua -e 'print(string.rep(\"ab\", 3))'", "ababab"),
    "nginx": ("""mkdir logs && cat > nginx.conf <<'END'
error_log stderr;
pid nginx.pid;
events {}
http { access_log off; server { listen unix:socket; location ~ ^/(?<name>[a-z]+)$ { gzip on; return 200 "hello $name"; } } }
END
$LOCATION/sbin/nginx -p $PWD -c nginx.conf
python3 - <<'END'
import socket
with socket.socket(socket.AF_UNIX) as client:
    client.connect("socket")
    client.sendall(b"GET /world HTTP/1.0\\r\\n\\r\\n")
    print(b"".join(iter(lambda: client.recv(4096), b"")).decode())
END
$LOCATION/sbin/nginx -p $PWD -c nginx.conf -s quit""", "hello world"),
    "haproxy": ("""printf 'defaults\\n  mode http\\n  timeout client 1s\\nfrontend a\\n  bind unix@socket\\n' > haproxy.cfg
$LOCATION/sbin/haproxy -c -f haproxy.cfg && $LOCATION/sbin/haproxy -vv""", "Built with PCRE2 version : 10.42 2022-12-11"),
    "openssl": ("printf abc | $LOCATION/bin/openssl dgst -sha1 -r", "a9993e364706816aba3e25717850c26c9cd0d89d *stdin"),
    "sqlite3": ("$LOCATION/bin/sqlite3 :memory: 'select sqlite_version(), 6 * 7'", "3.46.1|42"),
    "python3": ("""cat > modules.py <<'END'
import bz2, ctypes, curses.panel, hashlib, lzma, os, pyexpat, re, readline, sqlite3, ssl, sys, zlib
store = os.path.dirname(os.path.realpath(sys.base_prefix)) + "/"
paths = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print("outside:", [path for path in sorted(paths) if not path.startswith(store) and not re.search(r"/(ld-[^/]*|lib[cm])\\.so", path)])
END
$LOCATION/bin/python3 -m venv with-pip && with-pip/bin/pip --version
with-pip/bin/python modules.py""", "outside: []"),
    "popt": (f"""cat > program.c <<'END'
#include <popt.h>
#include <stdio.h>
int main(int count, const char **words) {{
    int value = 0;
    struct poptOption options[] = {{{{"six", 's', POPT_ARG_INT, &value, 0, 0, 0}}, POPT_TABLEEND}};
    poptContext context = poptGetContext(0, count, words, options, 0);
    return poptGetNextOpt(context) != -1 || printf("six is %d\\n", value) < 0;
}}
END
{LINK} -lpopt && ./program --six 6""", "six is 6"),
    "rsync": ("""mkdir one two && echo text > one/file && ln -s file one/link
$LOCATION/bin/rsync -rtpl --delete --link-dest=../one one/ two && readlink two/link && test one/file -ef two/file""", "file"),
    "openssh": ("""$LOCATION/bin/ssh-keygen -q -t ed25519 -N '' -f host
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf "ListenAddress 127.0.0.1:$port\nHostKey $PWD/host\nPidFile $PWD/pid\n" > config
$LOCATION/sbin/sshd -f $PWD/config
until [ -s pid ]; do sleep 0.1; done
$LOCATION/bin/ssh-keyscan -p $port 127.0.0.1 | cut -d ' ' -f 2
kill $(cat pid)""", "ssh-ed25519"),
    "redis": ("""$LOCATION/bin/redis-server --port 0 --unixsocket socket --save '' --daemonize yes --pidfile $PWD/pid
until [ -S socket ]; do sleep 0.1; done
$LOCATION/bin/redis-cli -s socket set key value
$LOCATION/bin/redis-cli -s socket get key
$LOCATION/bin/redis-cli -s socket shutdown""", "value"),
}  # fmt: skip


def wanted() -> list[str]:
    """Return the components to build, in an order in which none is built as another's need before its own turn."""
    text = os.environ.get("ALLOTMENT_COMPONENTS", "")
    return list(RUN) if text == "all" else text.split() or list(STEADY)


@pytest.fixture(scope="module")
def engine() -> Iterator[BuildEngine]:
    with BuildEngine(idle=300.0) as started:
        yield started


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the store and of the source cache."""
    return tmp_path_factory.mktemp("built")


def test_every_component_has_something_to_run() -> None:
    assert {path.parent.name for path in ROOT.glob("components/*/buildout.cfg")} == set(RUN)


@pytest.mark.xdist_group("components")  # one worker: each builds on what those before it have built
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", wanted())
def test_what_is_built_runs(name: str, engine: BuildEngine, place: Path, tmp_path: Path) -> None:
    folder = place / name
    profile = f"components/{name}/buildout.cfg"
    request = BuildRequest(ROOT, profile, folder, place / "sources", 3000.0, store=place / "store")
    result = engine.build(request, place / f"{name}.log")
    if "apt can't load the lists" in result.error or "apt is not installed" in result.error:
        pytest.skip(f"needs the distribution's source archive: {result.error}")
    assert result.ok, result.error
    location = next(place.glob(f"store/*/{name}-*"))
    command, line = RUN[name]
    environment = {"PATH": "/usr/bin:/bin", "LOCATION": str(location), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert line in done.stdout.splitlines() + done.stderr.splitlines(), done


EXTENSION = """\
#include <Python.h>
#include <zlib.h>
static PyObject *version(PyObject *self, PyObject *none) { return PyUnicode_FromString(zlibVersion()); }
static PyMethodDef methods[] = {{"version", version, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "packed", 0, -1, methods};
PyMODINIT_FUNC PyInit_packed(void) { return PyModule_Create(&module); }
"""
PROFILE = """\
[buildout]
extends = components/zlib/buildout.cfg
parts = app
[app]
recipe = allotment.recipes:python.scripts
eggs = ${packed:egg}
interpreter = py
[packed]
recipe = allotment.recipes:python.extension
egg = packed==1.0
url = %s
sha256sum = %s
libraries = z
environment =
  ZLIB = ${zlib:location}
promises = dynlib:lib/packed.*.so linked:libz.so.1 rpath:${zlib:location}/lib
[versions]
setuptools = %s
[hashes]
setuptools = sha256:%s
"""


@pytest.mark.xdist_group("components")
@pytest.mark.timeout(600)
def test_an_extension_of_python_takes_the_zlib_of_the_store(engine: BuildEngine, place: Path, tmp_path: Path) -> None:
    """It is compiled by setuptools, told only of the library's name; the checks of the part see to the rest."""
    source = tmp_path / "packed-1.0"
    source.mkdir()
    (source / "packed.c").write_text(EXTENSION)
    (source / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='packed', version='1.0', ext_modules=[Extension('packed', ['packed.c'])])\n"
    )
    archive = tmp_path / "packed-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(source, source.name)
    (wheel,) = sorted(Path(virtualenv.__file__).parent.glob("seed/wheels/embed/setuptools-*.whl"))[-1:]
    digest = BlobStore(place / "sources").add(wheel)
    shutil.copytree(ROOT / "components/zlib", tmp_path / "tree/components/zlib")
    pins = (archive, hashlib.sha256(archive.read_bytes()).hexdigest(), wheel.name.split("-")[1], digest)
    (tmp_path / "tree/software.cfg").write_text(PROFILE % pins)
    folder = tmp_path / "built"
    request = BuildRequest(tmp_path / "tree", "software.cfg", folder, place / "sources", 500.0, store=place / "store")
    result = engine.build(request, tmp_path / "log")
    if "apt can't load the lists" in result.error or "apt is not installed" in result.error:
        pytest.skip(f"needs the distribution's source archive: {result.error}")
    assert result.ok, result.error
    (library,) = place.glob("store/*/packed-1.0-*/lib/packed.*.so")
    (zlib,) = place.glob("store/*/zlib-*/lib")
    found = elf.read(library)
    assert found is not None
    assert "libz.so.1" in found.needed
    assert zlib.resolve() in map(Path, found.search)
    (program,) = folder.glob("store/app-*/bin/py")
    done = subprocess.run(
        [program, "-c", "import packed; print(packed.version())"], env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1.3.1\n"
