# SPDX-License-Identifier: Apache-2.0
"""Source providers, one a module: ``fetch(source, blobs)`` brings pinned bytes or says why not."""
