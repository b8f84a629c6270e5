# SPDX-License-Identifier: Apache-2.0
"""Recipe ``userinfo``: the unix user and group that the partition belongs to."""

import grp
import os
import pwd
from dataclasses import dataclass

from allotment_recipes.base import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    pass


class Recipe(GenericBaseRecipe[Options]):
    """Tell the fields of both as the system has them: ``pw-name``, ``pw-uid``, ``pw-dir``, ``gr-name`` and so on.

    A user or group that this machine has no name for is known by its number.
    """

    def prepare(self) -> None:
        owner = self.folder.stat()
        for name, value in {**_user(owner.st_uid, owner.st_gid), **_group(owner.st_gid)}.items():
            self.publish_option(name, value)


def _user(number: int, group: int) -> dict[str, object]:
    try:
        user = pwd.getpwuid(number)
    except KeyError:
        home = os.environ.get("HOME", "/")
        user = pwd.struct_passwd((str(number), "x", number, group, "", home, "/bin/sh"))
    fields = ("name", "uid", "gid", "gecos", "dir", "shell")
    return {f"pw-{field}": getattr(user, f"pw_{field}") for field in fields}


def _group(number: int) -> dict[str, object]:
    try:
        group = grp.getgrgid(number)
    except KeyError:
        group = grp.struct_group((str(number), "x", number, []))
    return {"gr-name": group.gr_name, "gr-gid": group.gr_gid, "gr-mem": " ".join(group.gr_mem)}
