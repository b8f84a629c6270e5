# SPDX-License-Identifier: Apache-2.0
"""The binary cache: built parts of a store, packed and signed, for other stores to take instead of building."""

from allotment.errors import AllotmentError

try:
    import cryptography  # noqa: F401 (it is told here, once for all modules, when it is missing)
except ModuleNotFoundError as error:
    raise AllotmentError(
        "binary caches need cryptography, which is not installed", "Install allotment.recipes[build]"
    ) from error
