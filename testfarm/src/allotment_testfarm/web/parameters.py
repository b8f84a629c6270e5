# SPDX-License-Identifier: Apache-2.0
"""What addresses may hold: bounded, so that no database ever sees a number or a text that it can't compare."""

from typing import Annotated

from fastapi import Path, Query

_LARGEST = 2**31 - 1  # of an id, on every database
_TEXT = r"^[^\x00]*$"

Number = Annotated[int, Path(ge=1, le=_LARGEST)]
Commit = Annotated[str, Path(max_length=64, description="A commit hash, or its beginning: 7 digits at least.")]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Project = Annotated[
    str, Query(max_length=200, pattern=_TEXT, description="A project's name; the first one without it.")
]
Release = Annotated[str, Path(max_length=200, pattern=_TEXT, description="A software release's name.")]
Kind = Annotated[str, Query(max_length=200, pattern=_TEXT, description="A kind of jobs.")]
Platform = Annotated[str, Query(max_length=200, pattern=_TEXT, description="A platform.")]
Text = Annotated[str | None, Query(max_length=200, pattern=_TEXT)]
Before = Annotated[int | None, Query(ge=1, le=_LARGEST, description="`next` of the page before.")]
Try = Annotated[int | None, Query(ge=1, le=_LARGEST, description="An attempt's number; the newest without it.")]
Window = Annotated[int, Query(ge=1, le=200, description="How many revisions at most.")]
Offset = Annotated[int, Query(ge=0, le=2**62, description="Bytes from the log's start.")]
Line = Annotated[int | None, Query(alias="from", ge=1, le=2**53, description="The first line's number.")]
