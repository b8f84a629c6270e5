# SPDX-License-Identifier: Apache-2.0
"""slapos.recipe.build, slapos.recipe.cmmi and slapos.recipe.template."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Final

from allotment_recipes.aliases import Alias
from allotment_recipes.compiled_part import LOCATION
from allotment_recipes.profiles import BASE_LOCATION

_HOOKS: Final = {
    "pre-configure-hook": "pre-configure",
    "pre-make-hook": "pre-build",
    "post-make-hook": "post-install",
}
_INSERTED: Final = re.compile(r"%\(([-\w.]+)\)s")
_CALL: Final = """\
import json, os, runpy, sys
path, function, location, options = sys.argv[1:]
options = {**json.loads(options), "location": location, "compile-directory": os.getcwd()}
runpy.run_path(path)[function](options, {"buildout": {"directory": location}}, dict(os.environ))"""


def _template(options: dict[str, str]) -> None:
    """Take the forms that an older release had: ``template`` is a path or ``inline:`` and the text itself."""
    text = options.pop("template", None)
    if text is not None:
        kind, _, rest = text.partition(":")
        if kind.strip() == "inline":
            options["inline"] = rest.lstrip("\n")
        else:
            options["url"] = text
    if "rendered" in options:
        options["output"] = options.pop("rendered")


def _script(options: dict[str, str]) -> None:
    """Undo the escapes of ``${`` in Python: it may write sections for buildout to read."""
    for option in ("init", "install", "update"):
        if option in options:
            options[option] = options[option].replace("$${", "${")


def _gitclone(options: dict[str, str]) -> None:
    """Let the folder of a pinned tree be a link to it."""
    is_copy = options.get("develop", "").strip().lower() in ("true", "yes", "1", "y")
    if options.get("revision", "").strip() and options.get("location", "").strip() and not is_copy:
        options["link"] = options.pop("location")


def _cmmi(options: dict[str, str]) -> None:
    """Take an empty ``prefix``, ``%(option)s`` for another option, and the Python functions called hooks."""
    if not options.get("prefix", "").strip():
        options.pop("prefix", None)
    values = {**options, "location": LOCATION}
    for option, text in options.items():
        # In an environment it is what a variable was before.
        options[option] = _inserted(text, {"location": LOCATION} if option == "environment" else values)
    hooks = {hook: options.pop(hook, "").strip() for hook in _HOOKS}
    given = json.dumps({option: text for option, text in options.items() if option != BASE_LOCATION}, sort_keys=True)
    for hook, option in _HOOKS.items():
        text = hooks[hook]
        if text:
            commands = [_hook_command(text, given), options.get(option, "").strip()]
            options[option] = "\n".join(filter(None, commands))
            options["host-tools"] = f"{options.get('host-tools', '')} python3".strip()


def _inserted(text: str, values: Mapping[str, str]) -> str:
    """Return a text with ``%(option)s`` replaced; what is no option stays."""
    return _INSERTED.sub(lambda found: values.get(found[1], found[0]), text)


def _hook_command(hook: str, options: str) -> str:
    """Return the shell command that calls ``path#md5:function``, as ``function(options, buildout, environment)``.

    It gets a copy of the section's options: what it sets there, nobody reads.
    """
    address, _, function = hook.rpartition(":")
    path, _, _ = address.partition("#")
    return (
        f"python3 -c {shlex.quote(_CALL)} {shlex.quote(path)} {shlex.quote(function)} {LOCATION} {shlex.quote(options)}"
    )


SLAPOS_RECIPE_BUILD: Final = {
    "default": Alias("script", is_pinned=True, convert=_script),
    "download": Alias("download"),
    "download-unpacked": Alias("download-unpacked"),
    "gitclone": Alias("gitclone", convert=_gitclone),
    "mkdirectory": Alias("mkdirectory"),
}

SLAPOS_RECIPE_CMMI: Final = {
    "default": Alias("cmmi", defaults={"shared": "false"}, is_built=True, convert=_cmmi),
}

SLAPOS_RECIPE_TEMPLATE: Final = {
    "default": Alias("template", results={"rendered": "output"}, convert=_template),
    "jinja2": Alias(
        "template.jinja2",
        results={"rendered": "output"},
        convert=_template,
    ),
}
