# SPDX-License-Identifier: Apache-2.0
"""slapos.recipe.build, slapos.recipe.cmmi and slapos.recipe.template."""

from typing import Final

from allotment_recipes.aliases import Alias


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


def _cmmi(options: dict[str, str]) -> None:
    """Let the variables of ``environment-section`` stand before those of ``environment``."""
    section = options.pop("environment-section", "").strip()
    if section:
        options["environment"] = f"{section}\n{options.get('environment', '')}".strip()


SLAPOS_RECIPE_BUILD: Final = {
    "download": Alias("download"),
    "download-unpacked": Alias("download-unpacked"),
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
