# SPDX-License-Identifier: Apache-2.0
"""The errors that users see: each says what is wrong and how to mend it."""

_LISTED = 100  # names in a hint: what has more is no list that anybody reads
_COMPARED = 5_000  # names, as a hostile file may have any number of them
_NAME = 200  # letters of a name that are compared


class AllotmentError(Exception):
    """Base of every error that Allotment raises on purpose; the command line prints it and exits with 1.

    ``what`` says where and what is wrong, ``fix`` what to do about it; both are sentences without the final full stop.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}. {self.fix}." if self.fix else f"{self.what}."


class MessageError(AllotmentError):
    """A document is not what its format says: wrong type, missing or unknown field."""


class UnknownFormatError(MessageError):
    """A document has a ``format`` that this version does not read."""


class PluginError(AllotmentError):
    """A plugin can't be used."""


class MachineError(AllotmentError):
    """This machine, or its way to others, could not do its part: later or elsewhere the same thing may work."""


class UnreachableError(MachineError):
    """A server did not answer: it is away, or the connection was lost; trying again may help."""


class RefusedError(AllotmentError):
    """A server answered and said no; ``status`` is the HTTP status code of the answer."""

    def __init__(self, what: str, fix: str = "", status: int = 400) -> None:
        super().__init__(what, fix)
        self.status = status


def nearest(name: str, valid: "list[str] | tuple[str, ...]") -> str:
    """Return a hint such as ``Did you mean 'mode'? Valid: a, b``, without the final full stop."""
    import difflib

    if not valid:
        return "None is valid here"
    close = difflib.get_close_matches(name[:_NAME], valid[:_COMPARED], n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    more = f" and {len(valid) - _LISTED} more" if len(valid) > _LISTED else ""
    return f"{hint}Valid: {', '.join(sorted(valid)[:_LISTED])}{more}"
