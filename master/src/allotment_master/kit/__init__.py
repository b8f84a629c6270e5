# SPDX-License-Identifier: Apache-2.0
"""What the master and the farm's web tier are both made with: database, identity, limits, lists, pages, serving."""
