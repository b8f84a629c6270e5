# SPDX-License-Identifier: Apache-2.0
"""The peers, from their package index: zc.buildout, SlapOS, Buildbot; made at their first use in ``var/peers``.

Each is in a virtualenv of its own. zc.buildout fetches the recipes itself, in a run that is not measured, as it does
for everybody: as eggs, which it need not hash at each run.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import Sample, command

FOLDER: Final = Path(__file__).parents[1] / "var" / "peers"
BUILDOUT: Final = (
    "zc.buildout==6.0.1",
    "setuptools==84.2.1",
    "pip==26.3",
    "wheel==0.48.0",
    "packaging==26.3",
    "platformdirs==4.14.7",
)
BUILDBOT: Final = (
    "buildbot==4.3.0",
    "buildbot-worker==4.3.0",
    "buildbot-www==4.3.0",
    "alembic==1.20.1",
    "attrs==26.1.0",
    "autobahn==26.10.2",
    "Automat==25.4.16",
    "cbor2==6.3.0",
    "cffi==2.1.1",
    "constantly==23.10.4",
    "croniter==7.0.0",
    "cryptography==50.0.2",
    "hyperlink==21.0.0",
    "idna==3.20",
    "Incremental==24.11.0",
    "Jinja2==3.1.6",
    "Mako==1.4.3",
    "MarkupSafe==3.0.4",
    "msgpack==1.2.4",
    "multipart==2.0.1",
    "packaging==26.3",
    "psycopg2-binary==2.9.13",
    "pycparser==3.12",
    "PyJWT==2.15.1",
    "pyOpenSSL==26.4.0",
    "python-dateutil==4.0.0",
    "PyYAML==6.0.3",
    "service-identity==26.1.0",
    "SQLAlchemy==2.1.9",
    "treq==26.7.0",
    "Twisted==26.10.0",
    "txaio==26.6.1",
    "typing_extensions==4.16.0",
    "tzdata==2026.6",
    "ujson==6.1.0",
    "unidiff==1.0.1",
    "zope.interface==8.7",
)
SLAPOS: Final = (
    "slapos.core==1.26.1",
    "atomize==0.2.0",
    "attrs==26.1.0",
    "autopage==0.6.0",
    "blinker==1.9.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "cliff==4.17.0",
    "cmd2==4.3.1",
    "croniter==7.0.0",
    "distro==1.9.0",
    "dnspython==2.9.2",
    "erp5.util==0.4.83",
    "feedparser==6.0.14",
    "feedparser-sgmllib==2.1.0",
    "Flask==3.1.3",
    "idna==3.20",
    "inotify-simple==2.0.1",
    "itsdangerous==2.2.0",
    "Jinja2==3.1.6",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "libpass==1.9.4",
    "lock_file==2.0",
    "lockfile==0.12.2",
    "lxml==6.1.3",
    "markdown-it-py==4.3.0",
    "MarkupSafe==3.0.4",
    "mdurl==0.1.2",
    "netaddr==1.3.0",
    "netifaces==0.11.0",
    "packaging==26.3",
    "platformdirs==4.14.7",
    "prettytable==3.18.0",
    "prompt_toolkit==3.0.53",
    "psutil==7.2.2",
    "pyasn1==0.6.5",
    "pyasn1_modules==0.4.2",
    "Pygments==2.21.0",
    "pyperclip==1.11.0",
    "PyRSS2Gen==1.1",
    "python-dateutil==4.0.0",
    "pytz==2026.6",
    "PyYAML==6.0.3",
    "referencing==0.37.0",
    "requests==2.34.2",
    "rich==15.0.0",
    "rich-argparse==1.8.0",
    "rpds-py==2026.9.1",
    "six==1.17.0",
    "slapos.libnetworkcache==0.30",
    "slapos.toolbox==0.170",
    "stevedore==5.10.0",
    "supervisor==4.3.0",
    "typing_extensions==4.16.0",
    "tzdata==2026.6",
    "tzlocal==5.4.5",
    "uritemplate==4.2.0",
    "urllib3==2.8.0",
    "wcwidth==0.9.4",
    "websocket-client==1.9.2",
    "Werkzeug==3.1.9",
    "xml_marshaller==1.0.3",
    "zc.buildout==6.0.1",
    "zope.interface==8.7",
)
RECIPES: Final = """\
[versions]
slapos.recipe.build = 0.66
slapos.recipe.cmmi = 0.23
slapos.recipe.template = 5.1
Jinja2 = 3.1.6
MarkupSafe = 3.0.4
six = 1.17.0
"""


class MissingError(Exception):
    """A peer is not here; pip has said why on stderr."""


def profile(folder: Path, parts: list[str], sections: str) -> Path:
    """Write a buildout.cfg of the pinned recipes and return it."""
    path = folder / "buildout.cfg"
    folder.mkdir(parents=True, exist_ok=True)
    names = "".join(f"  {part}\n" for part in parts)
    path.write_text(f"[buildout]\neggs-directory = {FOLDER / 'eggs'}\nparts =\n{names}\n{RECIPES}\n{sections}")
    return path


def buildout(path: Path) -> Callable[[], Sample]:
    """Return a function that runs zc.buildout over a profile, in place; the first run fetches the recipes."""
    program = virtualenv("buildout", BUILDOUT) / "bin" / "buildout"
    return command([str(program), "-N", "-U", "-c", str(path)], _environment())


def virtualenv(name: str, packages: tuple[str, ...]) -> Path:
    """Return the folder of the virtualenv that holds exactly these packages; it is made where it is not there."""
    text = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = FOLDER / f"{name}-{text}"
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(install, check=True, env=_environment(), stdout=sys.stderr)
        except subprocess.CalledProcessError as error:
            raise MissingError(f"{packages[0]} is not here and can't be installed") from error
        (folder / "complete").touch()
    return folder


def _environment() -> dict[str, str]:
    """Return ours without what would slow the peer down, or let it see our distributions."""
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
