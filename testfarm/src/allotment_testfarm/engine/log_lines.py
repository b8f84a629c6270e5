# SPDX-License-Identifier: Apache-2.0
"""Twisted's log events as lines of the standard library's logging, each under its own name."""

import logging

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import provider

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}
_FOREIGN = ("twisted", "log_legacy")  # of which only warnings are worth a line


@provider(ILogObserver)
def to_logging(event: LogEvent) -> None:
    """Pass one event on, with its traceback if it has one."""
    text = formatEvent(event)
    if "log_failure" in event:
        text = f"{text}\n{event['log_failure'].getTraceback()}"
    logger = logging.getLogger(event.get("log_namespace") or "twisted")
    logger.log(_LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO), "%s", text)


def begin() -> None:
    """Send everything that Twisted logs from now on to the standard library's logging."""
    for name in _FOREIGN:
        logging.getLogger(name).setLevel(logging.WARNING)
    globalLogBeginner.beginLoggingTo([to_logging], redirectStandardIO=False, discardBuffer=True)
