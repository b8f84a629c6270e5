# SPDX-License-Identifier: Apache-2.0
"""A new software release: what is built, what an instance is, schemas, promises, a test."""

from pathlib import Path

from allotment_recipes.new.home import LICENCE, fill, repository
from allotment_recipes.new.writing import check_name, module_name, write_new


def new_release(folder: Path, name: str) -> list[Path]:
    """Write ``software/<name>``: a page that a web server shows, to be replaced by what is wanted."""
    check_name(name, "release", "wiki")
    root = repository(folder)
    place = (root or folder) / "software" / name
    head = LICENCE if root is not None else ""
    words = {"name": name, "title": name.replace("-", " ").capitalize(), "head": head}
    words["comment"] = f"<!-- {head[2:].strip()} -->\n" if head else ""
    files = {place / fill(path, {"module": module_name(name)}): fill(text, words) for path, text in FILES.items()}
    write_new(files, {})
    return list(files)


FILES = {
    "software.cfg": """\
<<head>># What is built: nothing yet but the profile of an instance. Extend ../../components/<component>/buildout.cfg,
# and pass what an instance needs of it in 'context'.
[buildout]
parts = instance-profile

[instance-profile]
recipe = allotment.recipes:template.jinja2
url = ${:_profile_base_location_}/instance.cfg.in
output = ${buildout:directory}/instance.cfg
context =
  raw python ${buildout:executable}
  raw schema ${:_profile_base_location_}/instance-input-schema.json
""",
    "software.cfg.json": """\
{
  "format": 1,
  "name": "<<name>>",
  "licences": ["Apache-2.0"],
  "types": {
    "default": {
      "title": "<<title>>",
      "description": "One page, behind a web server",
      "profile": "instance.cfg",
      "parameters": "instance-input-schema.json",
      "published": "instance-output-schema.json"
    }
  }
}
""",
    "instance-input-schema.json": """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Parameters of <<title>>",
  "type": "object",
  "properties": {
    "text": {"description": "What the page says", "type": "string", "minLength": 1, "default": "It works"},
    "port": {
      "description": "TCP port, on the partition's own address",
      "type": "integer",
      "minimum": 1024,
      "maximum": 65535,
      "default": 8080
    }
  },
  "additionalProperties": false
}
""",
    "instance-output-schema.json": """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "What <<title>> publishes",
  "type": "object",
  "properties": {
    "url": {"description": "Address of the page", "type": "string", "format": "uri"}
  },
  "required": ["url"],
  "additionalProperties": false
}
""",
    "instance.cfg.in": """\
<<head>>[buildout]
parts =
  page
  service
  listening
  answering
  publish

[slap-configuration]
recipe = allotment.recipes:slapconfiguration
jsonschema = {{ schema }}

[directory]
recipe = allotment.recipes:mkdirectory
page = ${buildout:directory}/srv/page

[page]
recipe = allotment.recipes:template.jinja2
inline = {% raw %}{{ text }}{% endraw %}

output = ${directory:page}/index.html
context = key text slap-configuration:configuration.text

# Whatever stands in etc/service runs as long as the instance is started.
[service]
recipe = allotment.recipes:wrapper
command-line =
  {{ python }} -m http.server --bind ${slap-configuration:address} --directory ${directory:page}
  ${slap-configuration:configuration.port}
wrapper-path = ${buildout:directory}/etc/service/page

# The instance is green when its promises are kept.
[listening]
recipe = allotment.recipes:promise
promise = check_socket_listening
config-host = ${slap-configuration:address}
config-port = ${slap-configuration:configuration.port}

[answering]
recipe = allotment.recipes:promise
promise = check_url_available
config-url = ${publish:url}

[publish]
recipe = allotment.recipes:publish
url = http://${slap-configuration:address}:${slap-configuration:configuration.port}/
""",
    "test/test_<<module>>.py": '''\
<<head>>"""The release's own tests: they run in its farm job, and by ``allot release test software/<<name>>``."""

import urllib.request
from collections.abc import Callable
from typing import Any


def test_the_page_says_what_was_asked(request_instance: Callable[..., Any]) -> None:
    info = request_instance("asked", parameters={"text": "Bonjour"})
    with urllib.request.urlopen(info.published["url"], timeout=10) as answer:
        assert answer.read() == b"Bonjour"
''',
    "README.md": """\
<<comment>># <<name>>: one page, behind a web server

    allot lint software/<<name>>                    mistakes in profiles and schemas
    allot build software/<<name>>/software.cfg      build it here, make its manifest
    allot release test software/<<name>>            the farm's whole job, at your desk

| parameter | what it says |
| --- | --- |
| `text` | what the page says |
| `port` | where it listens |

An instance publishes `url`.
""",
}
