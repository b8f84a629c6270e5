# SPDX-License-Identifier: Apache-2.0
"""Names of projects and engines, and the files of several engines in one folder."""

import re

from allotment.errors import AllotmentError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def own(name: str, file: str) -> str:
    """Return what a program's file is called in a folder that it may share; without a name, as it is."""
    return f"{name}-{file}" if name else file


def check_project(name: str) -> None:
    """Refuse a name that can't be part of a path."""
    if not _NAME.fullmatch(name):
        raise AllotmentError(f"'{name}' is no name for a project", "Use letters, digits, dots, dashes and underscores")


def check_engine(name: str, database: str) -> None:
    """Refuse a bad name of an engine, and one over a database (URL, or "" for a file) that is for one engine alone."""
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise AllotmentError(f"'{name}' is no name for an engine", "Use letters, digits, dots, dashes and underscores")
    if not database or database.startswith("sqlite"):
        raise AllotmentError(
            f"engine '{name}' would share a SQLite database, which is for one engine",
            "Give --database postgresql://... to all of them, or leave --name out",
        )
