# SPDX-License-Identifier: Apache-2.0
"""What is in a folder, as plain data that a test compares or takes a snapshot of."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = dict[str, "str | tuple[str, str | bytes]"]

# Of what stands at the top of a folder under a hidden name, this is what the runs tell, not how they work.
TOLD = (".installed.cfg", ".allotment/requests.json", ".allotment/published.json")


def tree(folder: Path, places: Mapping[str, str] | None = None) -> Tree:
    """Return ``{"etc/conf": ("0644", "text"), "link": "-> etc/conf", "var/": "0700"}``, sorted by name.

    A file that is no UTF-8 text gives bytes. Folders stand there when they are empty or have another mode than 0755,
    and hidden names at the top not at all. ``places`` maps texts, such as the folder's path, to what stands for them in
    contents and links, so that the snapshot is the same everywhere; the folder itself is ``@folder@``.
    """
    places = {**(places or {}), str(folder): "@folder@"}

    def shown(text: str) -> str:
        for place in sorted(places, key=len, reverse=True):
            text = text.replace(place, places[place])
        return text

    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = f"{path.lstat().st_mode & 0o7777:04o}"
        if name.startswith("."):
            continue
        if path.is_symlink():
            found[name] = f"-> {shown(str(path.readlink()))}"
        elif path.is_dir():
            if mode != "0755" or not any(path.iterdir()):
                found[f"{name}/"] = mode
        elif not path.is_file():
            found[name] = "neither a file, a folder nor a link"  # a socket or a pipe: reading it may never end
        else:
            data = path.read_bytes()
            try:
                found[name] = (mode, shown(data.decode()))
            except UnicodeDecodeError:
                found[name] = (mode, data)
    return found


def stamps(folder: Path, told: Iterable[str] = TOLD) -> dict[str, tuple[int, int, int]]:
    """Return what changes when a file or link is touched: its number, its mode and when it changed last (ns).

    Of hidden names only those in ``told`` are looked at.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    files = {
        name: path.lstat()
        for name, path in found.items()
        if (not name.startswith(".") or name in told) and (path.is_symlink() or not path.is_dir())
    }
    return {name: (status.st_ino, status.st_mode, status.st_mtime_ns) for name, status in files.items()}
