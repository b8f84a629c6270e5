# SPDX-License-Identifier: Apache-2.0
"""What a run changes in its process, given back: for a second run in the same one."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def kept_process_state() -> Iterator[None]:
    """Give back what a run changes in its process: folder, environment, umask, arguments, the handlers of logs."""
    folder, environment, arguments = Path.cwd(), dict(os.environ), list(sys.argv)
    loggers = [(name, name.handlers[:], name.level, name.propagate) for name in _loggers()]
    mask = os.umask(0o022)
    sys.argv[:] = ["buildout"]
    try:
        yield
    finally:
        sys.argv[:] = arguments
        os.umask(mask)
        os.chdir(folder)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for logger, handlers, level, propagate in loggers:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


def _loggers() -> tuple[logging.Logger, ...]:
    return logging.getLogger(), logging.getLogger("zc.buildout")
