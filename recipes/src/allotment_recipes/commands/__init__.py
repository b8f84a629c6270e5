# SPDX-License-Identifier: Apache-2.0
"""Subcommands of ``allot``, one a module."""
