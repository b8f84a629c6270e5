# SPDX-License-Identifier: Apache-2.0
"""Subcommands and programs of the test farm, one a module."""
