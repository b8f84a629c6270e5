# SPDX-License-Identifier: Apache-2.0
"""The web tier: pages and JSON over the farm's database and log files, in a process of its own; it changes nothing."""
