# SPDX-License-Identifier: Apache-2.0
"""Subcommands of ``allot`` that core brings, one a module."""
