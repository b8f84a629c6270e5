# SPDX-License-Identifier: Apache-2.0
"""Options of ``[buildout]`` that SlapOS's variant has and that are not a profile's business here."""

from typing import Any


def tell_settings(buildout: Any) -> None:
    """Say once of stores and caches that a profile names, and that nobody gave to this build, that they have no effect.

    Whoever builds chooses them: what is in a store is taken as built, also by other releases.
    """
    run, options = buildout.run, buildout["buildout"]
    if run.closure is None:
        return
    given = {str(folder) for folder in run.stores}
    for line in options.get("shared-part-list", "").splitlines():
        if (folder := line.strip()) and folder not in given:
            buildout.say_once(
                f"[buildout] shared-part-list: {folder} has no effect here: stores are named to 'allot build'"
            )
    section = options.get("networkcache-section", "").strip()
    addresses = buildout._raw.get(section, {}) if section else {}
    known = {str(cache["url"]).rstrip("/") for cache in run.caches}
    if section and addresses.get("download-cache-url", "").strip().rstrip("/") not in known:
        buildout.say_once(
            f"[buildout] networkcache-section: [{section}] has no effect here: caches are named to 'allot build'"
        )
