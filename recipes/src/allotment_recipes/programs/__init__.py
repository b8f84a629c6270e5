# SPDX-License-Identifier: Apache-2.0
"""Programs that instances run long after buildout has ended; they import little, because many of them run at once."""
