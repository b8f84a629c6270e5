# SPDX-License-Identifier: Apache-2.0
"""The options that ``allot farm run`` passes on to the web tier, which serves the farm's binary cache."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def cache_options(function: F) -> F:
    """Decorator: add them."""
    place = click.option(
        "--cache",
        default="",
        metavar="PLACE",
        help="Where the binary cache keeps its parts, a folder or s3://bucket/folder; off: there is none.  "
        "[default: cache/parts in the farm's folder]",
    )
    url = click.option(
        "--cache-url",
        default="",
        metavar="URL",
        help="Address of the binary cache for test nodes that do not reach the pages at their own address.",
    )
    return place(url(function))
