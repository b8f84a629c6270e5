# SPDX-License-Identifier: Apache-2.0
"""What a failure shows of its log: the end, bounded, without secrets."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from allotment.secret import scrub

_BYTES: Final = 4000
_LONGEST: Final = 4000  # characters of an error
_LINES: Final = 20


def tail(log: Path) -> str:
    """Return a log's last lines; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _BYTES))
            text = file.read(_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-_LINES:])


def with_tail(what: str, log: Path, secrets: Iterable[str] = ()) -> str:
    """Return an error's text with the end of its log; what is no text in it, such as a NUL, is replaced."""
    secrets = tuple(secrets)
    what = scrub(what, secrets)  # before it is cut: half a secret would not be found
    what = what if len(what) <= _LONGEST else f"{what[:_LONGEST]} [cut]"
    end = scrub(tail(log), secrets)
    text = f"{what}\n{log.name} ends with:\n{end}" if end else what
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def scrub_file(log: Path, secrets: Iterable[str]) -> None:
    """Take secrets out of a log that another program has written; it stays the same file to whoever follows it."""
    secrets = tuple(secrets)
    if not secrets or not log.exists():
        return
    text = log.read_text(errors="surrogateescape")
    clean = scrub(text, secrets)
    if clean != text:
        log.write_text(clean, errors="surrogateescape")
