# SPDX-License-Identifier: Apache-2.0
"""slapos.cookbook."""

from typing import Final

from allotment_recipes.aliases import Alias

SLAPOS_COOKBOOK: Final = {
    "mkdirectory": Alias("mkdirectory"),
    "publish": Alias("publish"),
    "publish.serialised": Alias("publish"),
    "slapconfiguration": Alias("slapconfiguration"),
    "wrapper": Alias("wrapper", dropped={"parameters-extra": "a wrapper always hands its own arguments on"}),
}
