# SPDX-License-Identifier: Apache-2.0
"""The source cache: the blob folder itself, asked before anything that uses the network."""

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.sources import Source


def fetch(source: Source, blobs: BlobStore) -> None:
    """Take the bytes that are there already; damaged ones are removed and fetched anew."""
    if source.sha256 not in blobs:
        raise AllotmentError("it is not there")
    blobs.read(source.sha256)
