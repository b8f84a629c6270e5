# SPDX-License-Identifier: Apache-2.0
"""Recipes of other authors that SlapOS's profiles use."""

from pathlib import PurePosixPath
from typing import Final

from allotment_recipes.aliases import Alias


def _collective_template(options: dict[str, str]) -> None:
    """Take ``input``, which is a path or ``inline:`` and the text itself."""
    text = options.pop("input", None)
    if text is None:
        return
    kind, _, rest = text.partition(":")
    if kind.strip() == "inline":
        options["inline"] = rest.lstrip("\n")
    else:
        options["url"] = text.strip()


def _cns_symlink(options: dict[str, str]) -> None:
    """Take lines of ``path = link``, or names that are below ``symlink_base`` and are linked in ``symlink_target``."""
    base, target = options.pop("symlink_base", "").strip(), options.pop("symlink_target", "").strip()
    lines = [line.strip() for line in options.pop("symlink", "").splitlines() if line.strip()]
    links = []
    for line in lines:
        path, equals, link = (word.strip() for word in line.partition("="))
        if equals:
            target = str(PurePosixPath(link).parent)
            links.append(f"{PurePosixPath(link).name} = {path}")
        else:
            links += [f"{name} = {PurePosixPath(base, name)}" for name in path.split()]
    options["link-binary"] = "\n".join(links)
    options["target-directory"] = target


COLLECTIVE_RECIPE_TEMPLATE: Final = {
    "default": Alias("template", convert=_collective_template),
}

CNS_RECIPE_SYMLINK: Final = {
    "default": Alias("symlink", dropped={"autocreate": "folders are always made"}, convert=_cns_symlink),
}

HEXAGONIT_RECIPE_DOWNLOAD: Final = {
    "default": Alias("download-unpacked", instead={"download-only": "download"}),
}

PLONE_RECIPE_COMMAND: Final = {
    "default": Alias("command", defaults={"stop-on-error": "false"}),
}
